import type { ReactNode } from 'react';

export interface LegendItem {
  name: string;
  color: string;
  hidden: boolean;
}

interface Props {
  width: number;
  height: number;
  items: LegendItem[];
  onToggle: (name: string) => void;
  children: (width: number, height: number) => ReactNode;
}

const LINE = 24;

/** A picture with its legend below. A click on a name hides it or shows it again. */
export function LegendBelow({ width, height, items, onToggle, children }: Props) {
  const letters = items.reduce((sum, item) => sum + item.name.length * 7 + 34, 0);
  const lines = items.length ? Math.min(Math.ceil(letters / Math.max(width, 1)), 3) : 0;
  const room = lines * LINE;
  return (
    <div style={{ width, height }}>
      {children(width, height - room)}
      {items.length > 0 && (
        <ul className="legend" style={{ height: room }}>
          {items.map((item) => (
            <li key={item.name}>
              <button type="button" aria-pressed={!item.hidden} onClick={() => onToggle(item.name)}>
                <span className="swatch" style={{ background: item.color }} />
                {item.name}
              </button>
            </li>
          ))}
        </ul>
      )}
    </div>
  );
}
