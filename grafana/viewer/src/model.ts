/** The parts of Grafana's dashboard JSON (schema 41) that the viewer reads. */
import type { DataTransformerConfig, FieldConfigSource } from './grafana/data';

export interface GridPos {
  x: number;
  y: number;
  w: number;
  h: number;
}

export interface Target {
  refId: string;
  rawSql?: string;
  /** 0: a frame over time, 1: a table. */
  format?: number;
  hide?: boolean;
  /** With the data source `-- Dashboard --`: the panel whose answer is shown. */
  panelId?: number;
  withTransforms?: boolean;
}

export interface Panel {
  id: number;
  type: string;
  title: string;
  description?: string;
  gridPos: GridPos;
  targets?: Target[];
  interval?: string;
  maxDataPoints?: number;
  options?: Record<string, unknown>;
  fieldConfig?: FieldConfigSource;
  transformations?: DataTransformerConfig[];
  links?: DataLink[];
  /** Rows only. */
  collapsed?: boolean;
  panels?: Panel[];
}

export interface DataLink {
  title: string;
  url: string;
  targetBlank?: boolean;
}

export interface Option {
  text: string;
  value: string;
}

export interface VariableModel {
  name: string;
  type: string;
  label?: string;
  description?: string;
  /** 0: shown, 1: without its label, 2: hidden. */
  hide?: number;
  query?: string | { rawSql?: string };
  options?: Option[];
  current?: { text?: string | string[]; value?: string | string[] };
  multi?: boolean;
  includeAll?: boolean;
  allValue?: string | null;
  allowCustomValue?: boolean;
  regex?: string;
  sort?: number;
  skipUrlSync?: boolean;
}

export interface AnnotationModel {
  name: string;
  enable: boolean;
  iconColor?: string;
  filter?: { exclude?: boolean; ids: number[] };
  target?: { rawSql?: string };
}

export interface DashboardLink {
  title: string;
  type: 'dashboards' | 'link';
  url?: string;
  tags: string[];
  asDropdown?: boolean;
  includeVars?: boolean;
  keepTime?: boolean;
  targetBlank?: boolean;
  tooltip?: string;
}

export interface QuickRange {
  display: string;
  from: string;
  to: string;
}

export interface Dashboard {
  uid: string;
  title: string;
  description?: string;
  tags?: string[];
  timezone?: string;
  time?: RawRange;
  refresh?: string;
  timepicker?: { refresh_intervals?: string[]; quick_ranges?: QuickRange[]; hidden?: boolean };
  graphTooltip?: number;
  panels: Panel[];
  templating?: { list: VariableModel[] };
  annotations?: { list: AnnotationModel[] };
  links?: DashboardLink[];
}

/** A range as it is chosen and stands in the address: `now-7d`, or milliseconds since 1970 as text. */
export interface RawRange {
  from: string;
  to: string;
}

export interface DashboardEntry {
  uid: string;
  title: string;
  tags: string[];
  description?: string;
}
