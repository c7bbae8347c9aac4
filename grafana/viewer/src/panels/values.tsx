/** What stat, gauge, bar gauge and pie show: values reduced from fields, or one per row. */
import type { ReactNode } from 'react';
import {
  getFieldDisplayValues,
  type DataFrame,
  type FieldDisplay,
  type GrafanaTheme2,
  type ReduceDataOptions,
} from '../grafana';
import type { Panel } from '../model';
import { replacer } from '../session/text';
import { completed } from './defaults';

export const REDUCE: ReduceDataOptions = { values: false, calcs: ['lastNotNull'], fields: '' };

interface Asked {
  panel: Panel;
  data: DataFrame[];
  theme: GrafanaTheme2;
  timeZone: string;
  reduce: ReduceDataOptions;
  sparkline?: boolean;
}

/** The dashboard's variables are in the names already; what is left to fill in are the values of a row. */
const ofRow = replacer([], { from: '', to: '' });

export function valuesOf({ panel, data, theme, timeZone, reduce, sparkline = false }: Asked): FieldDisplay[] {
  return getFieldDisplayValues({
    data,
    theme,
    timeZone,
    sparkline,
    reduceOptions: reduce,
    fieldConfig: completed(panel.type, panel.fieldConfig),
    replaceVariables: ofRow,
  });
}

/** A value that leads somewhere is a link. */
export function Linked({ value, children }: { value: FieldDisplay; children: ReactNode }) {
  const link = value.hasLinks ? value.getLinks?.()[0] : undefined;
  if (!link) return <>{children}</>;
  return (
    <a href={link.href} title={link.title} target={link.target ?? undefined}>
      {children}
    </a>
  );
}
