import { formattedValueToString, useTheme2, type FieldDisplay } from '../grafana';
import { optionsOf, type PanelProps } from './props';
import { REDUCE, Linked, valuesOf } from './values';

const DEFAULTS = { reduceOptions: REDUCE, showThresholdMarkers: true };
const START = -210;
const SWEEP = 240;

/** A dial per value: from the lower left over the top, the thresholds as a thin band around it. */
export default function Gauge({ panel, data, width, height, timeZone }: PanelProps) {
  const theme = useTheme2();
  const options = optionsOf(panel, DEFAULTS);
  const values = valuesOf({ panel, data, theme, timeZone, reduce: options.reduceOptions });
  return (
    <div className="gauges">
      {values.map((value, at) => (
        <Linked key={at} value={value}>
          <Dial
            value={value}
            width={Math.floor(width / values.length)}
            height={height}
            named={values.length > 1}
            markers={options.showThresholdMarkers}
          />
        </Linked>
      ))}
    </div>
  );
}

interface DialProps {
  value: FieldDisplay;
  width: number;
  height: number;
  named: boolean;
  markers: boolean;
}

function Dial({ value, width, height, named, markers }: DialProps) {
  const theme = useTheme2();
  const { display, field } = value;
  const min = field.min ?? 0;
  const max = field.max ?? 100;
  const share = (number: number): number => Math.min(Math.max((number - min) / (max - min || 1), 0), 1);
  const radius = Math.max(Math.min(width / 2, height / 1.62) - 12, 20);
  const thick = radius * 0.26;
  const middle = { x: width / 2, y: Math.min(height - radius * 0.56, height / 2 + radius * 0.25) };
  const arc = (from: number, to: number, r: number): string => arcPath(middle.x, middle.y, r, from, to);
  const steps = field.thresholds?.steps ?? [];
  const text = formattedValueToString(display);
  const size = Math.min(radius * 0.4, (radius * 1.5) / Math.max(text.length, 3));
  const known = Number.isFinite(display.numeric);
  return (
    <svg width={width} height={height} role="img" aria-label={`${display.title ?? ''} ${text}`.trim()}>
      <path
        d={arc(0, 1, radius - thick)}
        stroke={theme.colors.background.canvas}
        strokeWidth={thick}
        fill="none"
      />
      {known && (
        <path
          d={arc(0, share(display.numeric), radius - thick)}
          stroke={display.color}
          strokeWidth={thick}
          fill="none"
        />
      )}
      {markers &&
        steps.map((step, at) => {
          const from = share(Number.isFinite(step.value) ? step.value : min);
          const to = share(steps[at + 1]?.value ?? max);
          return (
            <path
              key={at}
              d={arc(from, to, radius - thick * 0.28)}
              stroke={theme.visualization.getColorByName(step.color)}
              strokeWidth={thick * 0.2}
              fill="none"
            />
          );
        })}
      <text
        x={middle.x}
        y={middle.y + size * 0.1}
        fontSize={known ? size : Math.min(size, 16)}
        fontWeight={500}
        textAnchor="middle"
        dominantBaseline="central"
        fill={known ? display.color : theme.colors.text.secondary}
      >
        {text}
      </text>
      {named && (
        <text x={middle.x} y={height - 6} fontSize={14} textAnchor="middle" fill={theme.colors.text.primary}>
          {display.title}
        </text>
      )}
    </svg>
  );
}

/** An arc from one share of the dial to another, clockwise. */
function arcPath(x: number, y: number, radius: number, from: number, to: number): string {
  const point = (share: number): string => {
    const angle = ((START + SWEEP * share) * Math.PI) / 180;
    return `${x + radius * Math.cos(angle)} ${y + radius * Math.sin(angle)}`;
  };
  const large = (to - from) * SWEEP > 180 ? 1 : 0;
  return `M ${point(from)} A ${radius} ${radius} 0 ${large} 1 ${point(to)}`;
}
