import { useMemo, useState, type CSSProperties } from 'react';
import {
  FieldType,
  colorManipulator,
  formattedValueToString,
  getFieldDisplayName,
  useTheme2,
  type DataFrame,
  type DisplayValue,
  type Field,
  type GrafanaTheme2,
} from '../grafana';
import { SpaLink } from '../page/SpaLink';
import { isHidden, optionsOf, type PanelProps } from './props';

interface Custom {
  width?: number;
  minWidth?: number;
  align?: string;
  wrapText?: boolean;
  cellOptions?: { type?: string; mode?: string };
}

interface Column {
  field: Field;
  name: string;
  custom: Custom;
}

interface Sort {
  column: string;
  descending: boolean;
}

const DEFAULTS = {
  frameIndex: 0,
  showHeader: true,
  cellHeight: 'sm',
  sortBy: [] as { displayName: string; desc?: boolean }[],
};

/** A table, as HTML has them: sorted by a click on a heading. */
export default function Table({ panel, data, width, height }: PanelProps) {
  const options = optionsOf(panel, DEFAULTS);
  const first = options.sortBy[0];
  const [sort, setSort] = useState<Sort | undefined>(
    first && { column: first.displayName, descending: first.desc ?? false },
  );
  const frame = data[options.frameIndex] ?? data[0];
  const columns = useMemo(() => (frame ? columnsOf(frame, data) : []), [frame, data]);
  const rows = useMemo(() => (frame ? ordered(frame, columns, sort) : []), [frame, columns, sort]);
  const press = (name: string): void =>
    setSort((before) => {
      if (before?.column !== name) return { column: name, descending: false };
      return before.descending ? undefined : { column: name, descending: true };
    });
  return (
    // A box that scrolls must be reachable by keyboard.
    <div
      className="table-box"
      style={{ width, height }}
      tabIndex={0}
      role="group"
      aria-label={`${panel.title}, table`}
    >
      <table className="grid">
        {options.showHeader && (
          <thead>
            <tr>
              {columns.map(({ name, field, custom }) => (
                <th
                  key={name}
                  scope="col"
                  style={{ ...widthOf(custom), textAlign: alignOf(field, custom) }}
                  aria-sort={sort?.column !== name ? 'none' : sort.descending ? 'descending' : 'ascending'}
                >
                  <button type="button" onClick={() => press(name)}>
                    {name.trim() === '' ? <span className="hidden">unnamed column</span> : name}
                    <span aria-hidden>{sort?.column !== name ? '' : sort.descending ? ' ▾' : ' ▴'}</span>
                  </button>
                </th>
              ))}
            </tr>
          </thead>
        )}
        <tbody>
          {rows.map((row) => (
            <tr key={row}>
              {columns.map((column) => (
                <Cell key={column.name} column={column} row={row} />
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

function columnsOf(frame: DataFrame, data: DataFrame[]): Column[] {
  return frame.fields
    .map((field) => ({
      field,
      name: getFieldDisplayName(field, frame, data),
      custom: (field.config.custom ?? {}) as Custom,
    }))
    .filter(({ field }) => !isHidden(field));
}

function ordered(frame: DataFrame, columns: Column[], sort: Sort | undefined): number[] {
  const rows = Array.from({ length: frame.length }, (_, row) => row);
  const values = columns.find(({ name }) => name === sort?.column)?.field.values;
  if (!values || !sort) return rows;
  const compare = (a: unknown, b: unknown): number => {
    if (a === null || b === null) return a === b ? 0 : a === null ? -1 : 1;
    return typeof a === 'number' && typeof b === 'number' ? a - b : String(a).localeCompare(String(b));
  };
  return rows.sort((a, b) => compare(values[a], values[b]) * (sort.descending ? -1 : 1));
}

const widthOf = ({ width, minWidth }: Custom): CSSProperties => ({
  ...(width ? { width, minWidth: width, maxWidth: width } : {}),
  ...(minWidth ? { minWidth } : {}),
});

function alignOf(field: Field, { align, cellOptions }: Custom): 'left' | 'right' | 'center' {
  if (align === 'left' || align === 'right' || align === 'center') return align;
  return field.type === FieldType.number && cellOptions?.type !== 'gauge' ? 'right' : 'left';
}

function Cell({ column, row }: { column: Column; row: number }) {
  const theme = useTheme2();
  const { field, custom } = column;
  const value: unknown = field.values[row];
  const display: DisplayValue = field.display?.(value) ?? { text: String(value ?? ''), numeric: NaN };
  const text = formattedValueToString(display);
  const links = field.getLinks?.({ valueRowIndex: row }) ?? [];
  const link = links[0];
  const kind = custom.cellOptions?.type ?? 'auto';
  const inner =
    kind === 'gauge' && typeof value === 'number' ? (
      <CellBar field={field} value={value} text={text} color={display.color} />
    ) : (
      text
    );
  return (
    <td
      className={
        custom.wrapText || text.length > 48
          ? 'long'
          : field.type === FieldType.number || field.type === FieldType.time
            ? 'exact'
            : undefined
      }
      style={{ ...widthOf(custom), textAlign: alignOf(field, custom), ...colorsOf(kind, display, theme) }}
    >
      {link ? (
        <SpaLink href={link.href} title={link.title} target={link.target ?? undefined}>
          {inner}
        </SpaLink>
      ) : (
        inner
      )}
    </td>
  );
}

function colorsOf(kind: string, { color }: DisplayValue, theme: GrafanaTheme2): CSSProperties {
  if (!color) return {};
  if (kind === 'color-text') return { color: legible(color, theme) };
  if (kind === 'color-background') return { background: color, color: theme.colors.getContrastText(color) };
  return {};
}

/** The colour of small text: darker or lighter, where it would be hard to read on a panel. */
function legible(color: string, { colors, isDark }: GrafanaTheme2): string {
  const { getContrastRatio, darken, lighten, asHexString } = colorManipulator;
  const background = asHexString(colors.background.primary);
  let shown = color;
  for (let tries = 0; tries < 10 && getContrastRatio(shown, background) < 4.5; tries++)
    shown = isDark ? lighten(shown, 0.1) : darken(shown, 0.1);
  return shown;
}

interface BarProps {
  field: Field;
  value: number;
  text: string;
  color: string | undefined;
}

/** A bar from the least to the greatest value of the field, and its text beside it. */
function CellBar({ field, value, text, color }: BarProps) {
  const theme = useTheme2();
  const min = field.config.min ?? field.state?.range?.min ?? 0;
  const max = field.config.max ?? field.state?.range?.max ?? 100;
  const share = Math.min(Math.max((value - min) / (max - min || 1), 0), 1);
  return (
    <span className="cell-bar">
      <span className="cell-bar-room" aria-hidden>
        <span style={{ width: `${share * 100}%`, background: color }} />
      </span>
      <span className="cell-bar-text" style={{ color: color && legible(color, theme) }}>
        {text}
      </span>
    </span>
  );
}
