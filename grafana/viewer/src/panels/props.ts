import type { DataFrame, Field, TimeRange } from '../grafana/data';
import type { Panel } from '../model';

/** What every kind of panel is drawn from: frames with units, names and colours, and the room there is. */
export interface PanelProps {
  panel: Panel;
  data: DataFrame[];
  width: number;
  height: number;
  range: TimeRange;
  timeZone: string;
}

/** Options of the JSON with what holds where it says nothing. */
export function optionsOf<T extends object>(panel: Panel, defaults: T): T {
  return { ...defaults, ...(panel.options as Partial<T> | undefined) };
}

/** Grafana 12.2 and later say `hideFrom`, older ones `hidden`. */
export function isHidden({ config }: Field): boolean {
  const custom = config.custom as { hidden?: boolean; hideFrom?: { viz?: boolean } } | undefined;
  return custom?.hidden === true || custom?.hideFrom?.viz === true;
}
