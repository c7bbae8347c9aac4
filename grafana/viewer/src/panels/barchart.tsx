import { useMemo, useState } from 'react';
import {
  FieldType,
  formattedValueToString,
  getFieldDisplayName,
  getFieldSeriesColor,
  useTheme2,
  type DataFrame,
  type Field,
} from '../grafana';
import { LegendBelow } from './legend';
import { optionsOf, type PanelProps } from './props';
import { ticks } from './ticks';

const DEFAULTS = {
  xField: undefined as string | undefined,
  orientation: 'auto',
  showValue: 'auto',
  groupWidth: 0.7,
  barWidth: 0.97,
  legend: { showLegend: true, placement: 'bottom' },
};
const FONT = 12;
const LETTER = 7.2;

interface Bars {
  labels: string[];
  series: { name: string; color: string; field: Field }[];
  low: number;
  high: number;
}

/** Groups of bars: a group per row, a bar per numeric field. */
export default function BarChart({ panel, data, width, height }: PanelProps) {
  const theme = useTheme2();
  const options = optionsOf(panel, DEFAULTS);
  const [hidden, setHidden] = useState<ReadonlySet<string>>(new Set());
  const all = useMemo(() => barsOf(data, options.xField), [data, options.xField]);
  const series = all.series.map((one) => ({ ...one, color: getFieldSeriesColor(one.field, theme).color }));
  const shown = {
    ...all,
    ...extent(series.filter((one) => !hidden.has(one.name))),
    series: series.filter((one) => !hidden.has(one.name)),
  };
  const toggle = (name: string): void =>
    setHidden((before) => {
      const next = new Set(before);
      if (!next.delete(name)) next.add(name);
      return next;
    });
  const horizontal =
    options.orientation === 'horizontal' || (options.orientation === 'auto' && width < height);
  const Draw = horizontal ? Horizontal : Vertical;
  return (
    <LegendBelow
      width={width}
      height={height}
      items={
        options.legend.showLegend
          ? series.map(({ name, color }) => ({ name, color, hidden: hidden.has(name) }))
          : []
      }
      onToggle={toggle}
    >
      {(w, h) => (
        <Draw
          bars={shown}
          width={w}
          height={h}
          values={options.showValue !== 'never'}
          group={options.groupWidth}
          bar={options.barWidth}
        />
      )}
    </LegendBelow>
  );
}

function barsOf(data: DataFrame[], xField: string | undefined): Bars {
  const frame = data[0];
  if (!frame) return { labels: [], series: [], low: 0, high: 0 };
  const label =
    frame.fields.find((field) => getFieldDisplayName(field, frame) === xField) ??
    frame.fields.find((field) => field.type === FieldType.string || field.type === FieldType.time);
  const series = frame.fields
    .filter((field) => field.type === FieldType.number && field !== label)
    .map((field) => ({ field, name: getFieldDisplayName(field, frame, data), color: '' }));
  const labels = Array.from({ length: frame.length }, (_, row) => {
    const value: unknown = label?.values[row];
    return label?.display ? formattedValueToString(label.display(value)) : String(value ?? '');
  });
  return { labels, series, ...extent(series) };
}

function extent(series: Bars['series']): { low: number; high: number } {
  const numbers = series.flatMap(({ field }) =>
    (field.values as (number | null)[]).filter((v) => v !== null),
  );
  const config = series[0]?.field.config;
  const low = config?.min ?? Math.min(0, ...numbers);
  return { low, high: Math.max(config?.max ?? Math.max(0, ...numbers), low + 1e-9) };
}

interface DrawProps {
  bars: Bars;
  width: number;
  height: number;
  values: boolean;
  group: number;
  bar: number;
}

const format = (field: Field | undefined, value: unknown): string =>
  field?.display ? formattedValueToString(field.display(value)) : String(value);
const cut = (text: string, letters: number): string =>
  text.length > letters ? `${text.slice(0, Math.max(letters - 1, 1))}…` : text;

function title(bars: Bars, row: number): string {
  return [
    bars.labels[row],
    ...bars.series.map((one) => `${one.name}: ${format(one.field, one.field.values[row])}`),
  ].join('\n');
}

function Horizontal({ bars, width, height, values, group, bar }: DrawProps) {
  const theme = useTheme2();
  const { labels, series, low, high } = bars;
  const left = Math.min(Math.max(...labels.map((one) => one.length), 1) * LETTER + 10, width * 0.35);
  const texts = series.flatMap(({ field }) => field.values.map((value) => format(field, value)));
  const right = values ? Math.max(...texts.map((one) => one.length), 1) * LETTER + 8 : 8;
  const bottom = 20;
  const plot = { width: Math.max(width - left - right, 10), height: Math.max(height - bottom, 10) };
  const x = (value: number): number =>
    left + ((Math.min(Math.max(value, low), high) - low) / (high - low)) * plot.width;
  const band = plot.height / Math.max(labels.length, 1);
  const thick = Math.min((band * group) / Math.max(series.length, 1), 40);
  const zero = x(Math.max(low, 0));
  return (
    <svg width={width} height={height} aria-hidden>
      {ticks(low, high, plot.width / 90).map((tick) => (
        <g key={tick}>
          <line x1={x(tick)} x2={x(tick)} y1={0} y2={plot.height} stroke={theme.colors.border.weak} />
          <text
            x={x(tick)}
            y={height - 6}
            fontSize={FONT}
            textAnchor="middle"
            fill={theme.colors.text.secondary}
          >
            {format(series[0]?.field, tick)}
          </text>
        </g>
      ))}
      {labels.map((label, row) => {
        const top = band * row + (band - thick * series.length) / 2;
        return (
          <g key={row}>
            <title>{title(bars, row)}</title>
            <rect x={0} y={band * row} width={width} height={band} fill="transparent" className="bar-band" />
            <text
              x={left - 8}
              y={band * (row + 0.5)}
              fontSize={FONT}
              textAnchor="end"
              dominantBaseline="central"
              fill={theme.colors.text.primary}
            >
              {cut(label, Math.floor((left - 8) / LETTER))}
            </text>
            {series.map((one, at) => {
              const value = one.field.values[row] as number | null;
              if (value === null) return null;
              const y = top + thick * at;
              return (
                <g key={one.name}>
                  <rect
                    x={Math.min(zero, x(value))}
                    y={y}
                    width={Math.abs(x(value) - zero)}
                    height={Math.max(thick * bar, 1)}
                    fill={one.color}
                  />
                  {values && thick >= 10 && (
                    <text
                      x={x(value) + 4}
                      y={y + thick / 2}
                      fontSize={Math.min(FONT, thick)}
                      dominantBaseline="central"
                      fill={theme.colors.text.primary}
                    >
                      {format(one.field, value)}
                    </text>
                  )}
                </g>
              );
            })}
          </g>
        );
      })}
    </svg>
  );
}

function Vertical({ bars, width, height, values, group, bar }: DrawProps) {
  const theme = useTheme2();
  const { labels, series, low, high } = bars;
  const marks = ticks(low, high, height / 50);
  const left = Math.max(...marks.map((tick) => format(series[0]?.field, tick).length), 1) * LETTER + 10;
  const top = 16;
  const plot = { width: Math.max(width - left, 10), height: Math.max(height - 20 - top, 10) };
  const y = (value: number): number =>
    top + plot.height - ((Math.min(Math.max(value, low), high) - low) / (high - low)) * plot.height;
  const band = plot.width / Math.max(labels.length, 1);
  const thick = Math.min((band * group) / Math.max(series.length, 1), 60);
  const zero = y(Math.max(low, 0));
  return (
    <svg width={width} height={height} aria-hidden>
      {marks.map((tick) => (
        <g key={tick}>
          <line x1={left} x2={width} y1={y(tick)} y2={y(tick)} stroke={theme.colors.border.weak} />
          <text
            x={left - 6}
            y={y(tick)}
            fontSize={FONT}
            textAnchor="end"
            dominantBaseline="central"
            fill={theme.colors.text.secondary}
          >
            {format(series[0]?.field, tick)}
          </text>
        </g>
      ))}
      {labels.map((label, row) => {
        const start = left + band * row + (band - thick * series.length) / 2;
        return (
          <g key={row}>
            <title>{title(bars, row)}</title>
            <rect
              x={left + band * row}
              y={0}
              width={band}
              height={height}
              fill="transparent"
              className="bar-band"
            />
            <text
              x={left + band * (row + 0.5)}
              y={height - 6}
              fontSize={FONT}
              textAnchor="middle"
              fill={theme.colors.text.primary}
            >
              {cut(label, Math.floor(band / LETTER))}
            </text>
            {series.map((one, at) => {
              const value = one.field.values[row] as number | null;
              if (value === null) return null;
              const x = start + thick * at;
              return (
                <g key={one.name}>
                  <rect
                    x={x}
                    y={Math.min(zero, y(value))}
                    width={Math.max(thick * bar, 1)}
                    height={Math.abs(y(value) - zero)}
                    fill={one.color}
                  />
                  {values && thick >= format(one.field, value).length * LETTER && (
                    <text
                      x={x + thick / 2}
                      y={y(value) - 5}
                      fontSize={FONT}
                      textAnchor="middle"
                      fill={theme.colors.text.primary}
                    >
                      {format(one.field, value)}
                    </text>
                  )}
                </g>
              );
            })}
          </g>
        );
      })}
    </svg>
  );
}
