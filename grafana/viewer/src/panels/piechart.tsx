import { useState } from 'react';
import { formattedValueToString, useTheme2, type FieldDisplay } from '../grafana';
import { optionsOf, type PanelProps } from './props';
import { REDUCE, valuesOf } from './values';

interface Legend {
  showLegend: boolean;
  displayMode: string;
  placement: string;
  values: string[];
}

const DEFAULTS = {
  reduceOptions: REDUCE,
  pieType: 'pie',
  displayLabels: [] as string[],
  legend: { showLegend: true, displayMode: 'list', placement: 'bottom', values: [] } as Legend,
};
const ROW = 26;

interface Slice {
  name: string;
  text: string;
  percent: string;
  share: number;
  start: number;
  color: string;
}

/** A pie or a donut with its legend below or on the right. Values of zero or less have no slice. */
export default function Pie({ panel, data, width, height, timeZone }: PanelProps) {
  const theme = useTheme2();
  const options = optionsOf(panel, DEFAULTS);
  const [active, setActive] = useState<number>();
  const slices = slicesOf(
    valuesOf({ panel, data, theme, timeZone, reduce: options.reduceOptions }),
    theme.colors.text.disabled,
  );
  const { legend } = options;
  if (!slices.some((slice) => slice.share > 0))
    return <p className="empty">{panel.fieldConfig?.defaults.noValue ?? 'No data'}</p>;
  const right = legend.showLegend && legend.placement === 'right';
  const legendHeight = legend.showLegend && !right ? Math.min(slices.length * ROW + 4, height / 2) : 0;
  const room = { width: right ? width * 0.55 : width, height: height - legendHeight };
  const radius = Math.max(Math.min(room.width, room.height) / 2 - 4, 10);
  const inner = options.pieType === 'donut' ? radius * 0.6 : 0;
  return (
    <div className={right ? 'pie pie-right' : 'pie'}>
      <svg
        width={room.width}
        height={room.height}
        role="img"
        aria-label={slices.map((s) => `${s.name}: ${s.text} (${s.percent})`).join(', ')}
      >
        <g transform={`translate(${room.width / 2} ${room.height / 2})`}>
          {slices.map((slice, at) => (
            <g
              key={slice.name}
              onMouseEnter={() => setActive(at)}
              onMouseLeave={() => setActive(undefined)}
              opacity={active === undefined || active === at ? 1 : 0.5}
            >
              <title>{`${slice.name}: ${slice.text} (${slice.percent})`}</title>
              <path
                d={slicePath(slice, radius, inner)}
                fill={slice.color}
                stroke={theme.colors.background.primary}
                strokeWidth={slices.length > 1 ? 1.5 : 0}
              />
              {options.displayLabels.length > 0 && slice.share > 0.05 && (
                <SliceLabel
                  slice={slice}
                  labels={options.displayLabels}
                  at={inner ? (radius + inner) / 2 : radius * 0.7}
                  size={Math.min(Math.max(radius * 0.14, 10), 16)}
                  color={theme.colors.getContrastText(slice.color)}
                />
              )}
            </g>
          ))}
        </g>
      </svg>
      {legend.showLegend && (
        <table className="pie-legend">
          <tbody>
            {slices.map((slice, at) => (
              <tr
                key={slice.name}
                onMouseEnter={() => setActive(at)}
                onMouseLeave={() => setActive(undefined)}
              >
                <th scope="row">
                  <span className="swatch" style={{ background: slice.color }} />
                  {slice.name}
                </th>
                {legend.values.includes('value') && <td>{slice.text}</td>}
                {legend.values.includes('percent') && <td>{slice.percent}</td>}
              </tr>
            ))}
          </tbody>
        </table>
      )}
    </div>
  );
}

function slicesOf(values: FieldDisplay[], grey: string): Slice[] {
  const positive = values.map(({ display }) => (display.numeric > 0 ? display.numeric : 0));
  const total = positive.reduce((sum, value) => sum + value, 0);
  return values.map(({ display }, at) => {
    const share = total ? (positive[at] ?? 0) / total : 0;
    return {
      name: display.title ?? '',
      text: formattedValueToString(display),
      percent: `${Math.round(share * 100)}%`,
      share,
      start: total ? positive.slice(0, at).reduce((sum, value) => sum + value, 0) / total : 0,
      color: display.color ?? grey,
    };
  });
}

function slicePath({ start, share }: Slice, outer: number, inner: number): string {
  if (share <= 0) return '';
  if (share > 0.9999) {
    const circle = (r: number): string => `M 0 ${-r} A ${r} ${r} 0 1 1 0 ${r} A ${r} ${r} 0 1 1 0 ${-r} Z`;
    // The inner circle runs the other way round, so that the hole stays open.
    return (
      circle(outer) +
      (inner
        ? `M 0 ${-inner} A ${inner} ${inner} 0 1 0 0 ${inner} A ${inner} ${inner} 0 1 0 0 ${-inner} Z`
        : '')
    );
  }
  const point = (r: number, at: number): string =>
    `${r * Math.sin(2 * Math.PI * at)} ${-r * Math.cos(2 * Math.PI * at)}`;
  const large = share > 0.5 ? 1 : 0;
  const end = start + share;
  return (
    `M ${point(outer, start)} A ${outer} ${outer} 0 ${large} 1 ${point(outer, end)} ` +
    `L ${point(inner, end)} A ${inner} ${inner} 0 ${large} 0 ${point(inner, start)} Z`
  );
}

function SliceLabel({
  slice,
  labels,
  at,
  size,
  color,
}: {
  slice: Slice;
  labels: string[];
  at: number;
  size: number;
  color: string;
}) {
  const angle = 2 * Math.PI * (slice.start + slice.share / 2);
  const lines = [
    ...(labels.includes('name') ? [slice.name] : []),
    ...(labels.includes('value') ? [slice.text] : []),
    ...(labels.includes('percent') ? [slice.percent] : []),
  ];
  const whole = slice.share > 0.9999;
  return (
    <text
      x={whole ? 0 : at * Math.sin(angle)}
      y={whole ? -at : -at * Math.cos(angle)}
      fontSize={size}
      fill={color}
      textAnchor="middle"
      dominantBaseline="central"
      pointerEvents="none"
    >
      {lines.join(' ')}
    </text>
  );
}
