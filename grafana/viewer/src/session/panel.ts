/** From a panel of the JSON to what its picture is drawn from. */
import { firstValueFrom } from 'rxjs';
import {
  applyFieldOverrides,
  cacheFieldDisplayNames,
  transformDataFrame,
  type DataFrame,
  type GrafanaTheme2,
  type InterpolateFunction,
} from '../grafana/data';
import type { Panel, Target } from '../model';
import { completed, registryOf } from '../panels/defaults';
import type { Round } from '../query/client';
import { expand } from '../query/expand';
import { toFrame, toSeries } from '../query/frames';
import type { Chosen } from '../query/interpolate';
import { intervalOf } from './interval';

/** A query of a panel, ready to be sent. */
export interface Prepared {
  refId: string;
  sql: string;
  series: boolean;
}

export interface Scope {
  from: number;
  to: number;
  variables: readonly Chosen[];
  /** Width of the page in pixels. */
  page: number;
}

/**
 * The queries of a panel; of the panel it refers to, if its data source is `-- Dashboard --`. Throws if a
 * query cannot be expanded or the other panel does not exist.
 */
export function prepared(panel: Panel, panels: readonly Panel[], scope: Scope): Prepared[] {
  const asked = (panel.targets ?? []).filter((target) => !target.hide);
  return asked.flatMap((target) => {
    if (target.panelId === undefined) return prepare(target, panel, scope);
    const other = panels.find((one) => one.id === target.panelId);
    if (!other) throw new Error(`there is no panel ${target.panelId}, whose answer this one shows`);
    if (target.withTransforms)
      throw new Error('the viewer takes answers of other panels without transformations');
    return (other.targets ?? []).filter((one) => !one.hide).flatMap((one) => prepare(one, other, scope));
  });
}

function prepare(target: Target, panel: Panel, { from, to, variables, page }: Scope): Prepared[] {
  if (!target.rawSql) return [];
  const interval = intervalOf(panel, from, to, page);
  return [
    {
      refId: target.refId,
      sql: expand(target.rawSql, { from, to, interval }, variables),
      series: target.format === 0,
    },
  ];
}

/** Answers to the queries: a frame each, of our own. Raises QueryError. */
export async function asked(queries: readonly Prepared[], round: Round): Promise<DataFrame[]> {
  return Promise.all(
    queries.map(async ({ refId, sql, series }) => {
      const frame = toFrame(await round.ask(sql), refId);
      return series ? toSeries(frame) : frame;
    }),
  );
}

/** The frames as the picture needs them: transformed, with units, names, colours and links. */
export async function shaped(
  panel: Panel,
  frames: DataFrame[],
  theme: GrafanaTheme2,
  replace: InterpolateFunction,
  timeZone: string,
): Promise<DataFrame[]> {
  const filled = frames.filter((frame) => frame.length > 0);
  const transformed = await firstValueFrom(
    transformDataFrame(panel.transformations ?? [], filled, { interpolate: (text) => replace(text) }),
  );
  const fieldConfig = completed(panel.type, panel.fieldConfig);
  const data = applyFieldOverrides({
    data: transformed,
    fieldConfig,
    fieldConfigRegistry: registryOf(fieldConfig),
    replaceVariables: replace,
    theme,
    timeZone,
  });
  cacheFieldDisplayNames(data);
  return data;
}
