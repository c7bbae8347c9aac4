import { useEffect, useRef, useState } from 'react';
import {
  FieldType,
  dateTimeFormat,
  formattedValueToString,
  getFieldDisplayName,
  type DataFrame,
  type Field,
} from '../grafana';
import { csvOf } from '../export/csv';
import { fileName, save } from '../export/save';
import { useDashboard } from './context';

/** A panel's data as a table, its queries as they were sent, and why they failed. */
export default function Inspect({ panel: id, onClose }: { panel: number; onClose: () => void }) {
  const { dashboard, states, timeZone } = useDashboard();
  const [tab, setTab] = useState<'data' | 'query'>('data');
  const dialog = useRef<HTMLDialogElement>(null);
  const panel = dashboard.panels.find((one) => one.id === id);
  const state = states.get(id);
  useEffect(() => dialog.current?.showModal(), []);
  const title = panel?.title ?? '';
  const csv = (): void =>
    save(new Blob([csvOf(state?.data ?? [])], { type: 'text/csv' }), `${fileName(title)}.csv`);
  return (
    <dialog
      ref={dialog}
      className="inspect"
      aria-labelledby="inspect-title"
      onClose={onClose}
      onClick={(event) => event.target === dialog.current && dialog.current.close()}
    >
      <div className="inspect-body">
        <div className="inspect-head">
          <h2 id="inspect-title">Inspect: {title}</h2>
          <button type="button" className="plain" onClick={() => dialog.current?.close()}>
            Close
          </button>
        </div>
        {panel?.description && <p className="weak">{panel.description}</p>}
        {state?.error && (
          <p className="banner" role="alert">
            {state.error.message}
          </p>
        )}
        <div className="tabs" role="tablist" aria-label="What to inspect">
          {(['data', 'query'] as const).map((name) => (
            <button
              key={name}
              type="button"
              role="tab"
              id={`tab-${name}`}
              aria-selected={tab === name}
              aria-controls={`part-${name}`}
              onClick={() => setTab(name)}
            >
              {name === 'data' ? 'Data' : 'Query'}
            </button>
          ))}
          <span className="space" />
          <button type="button" className="plain" onClick={csv} disabled={!state?.data?.length}>
            Save as CSV
          </button>
        </div>
        <div
          role="tabpanel"
          id={`part-${tab}`}
          aria-labelledby={`tab-${tab}`}
          className="inspect-part"
          tabIndex={0}
        >
          {tab === 'query' &&
            state?.queries.map(({ refId, sql }) => (
              <figure key={refId}>
                <figcaption>Query {refId}</figcaption>
                <pre>{sql}</pre>
              </figure>
            ))}
          {tab === 'data' &&
            (state?.data ?? []).map((frame, at) => (
              <FrameTable key={at} frame={frame} data={state?.data ?? []} timeZone={timeZone} />
            ))}
          {tab === 'data' && !state?.data?.length && <p className="empty">No data</p>}
        </div>
      </div>
    </dialog>
  );
}

const ROWS = 1000;

function FrameTable({ frame, data, timeZone }: { frame: DataFrame; data: DataFrame[]; timeZone: string }) {
  const rows = Array.from({ length: Math.min(frame.length, ROWS) }, (_, row) => row);
  const text = (field: Field, row: number): string => {
    const value: unknown = field.values[row];
    if (value === null || value === undefined) return '';
    if (field.type === FieldType.time) return dateTimeFormat(value as number, { timeZone });
    return field.display && field.type === FieldType.number
      ? formattedValueToString(field.display(value))
      : String(value);
  };
  return (
    <>
      {frame.length > ROWS && (
        <p className="weak">
          The first {ROWS} of {frame.length} rows; the CSV has all.
        </p>
      )}
      <table className="grid">
        <thead>
          <tr>
            {frame.fields.map((field, at) => (
              <th key={at} scope="col">
                {getFieldDisplayName(field, frame, data)}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {rows.map((row) => (
            <tr key={row}>
              {frame.fields.map((field, at) => (
                <td key={at} style={{ textAlign: field.type === FieldType.number ? 'right' : 'left' }}>
                  {text(field, row)}
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </>
  );
}
