/** A dashboard that is open: its range, variables and the round of queries that is on. */
import type { Dashboard, RawRange } from '../model';
import { Round } from '../query/client';
import { expand } from '../query/expand';
import type { Chosen } from '../query/interpolate';
import type { Place } from './location';
import { resolve, type Milliseconds } from './range';
import {
  chosen,
  fixedOptions,
  orderOf,
  queryOptions,
  queryText,
  selectedAtFirst,
  valid,
  type Variable,
} from './variables';

/** Never changed, only replaced. */
export interface Snapshot {
  raw: RawRange;
  range: Milliseconds;
  refresh: string;
  /** `browser`, `utc` or a name of the IANA database. */
  timeZone: string;
  variables: readonly Variable[];
  chosen: readonly Chosen[];
  /** Undefined until the variables are known: panels wait for it. */
  round: Round | undefined;
  /** Why the variables are not known. */
  error: Error | undefined;
}

export interface Surroundings {
  /** Called when what belongs into the address has changed. `push`: a person did it. */
  onPlace: (place: Omit<Place, 'uid'>, push: boolean) => void;
  fetcher?: typeof fetch;
}

export class Session {
  private state: Snapshot;
  private readonly listeners = new Set<() => void>();
  private round: Round;

  constructor(
    readonly dashboard: Dashboard,
    place: Place,
    private readonly around: Surroundings,
  ) {
    const raw = place.range ?? dashboard.time ?? { from: 'now-6h', to: 'now' };
    const models = dashboard.templating?.list ?? [];
    const variables = models.map((model): Variable => ({
      model,
      options: fixedOptions(model),
      selected: selectedAtFirst(model, place.variables[model.name]),
    }));
    const timeZone = place.timeZone ?? zoneOf(dashboard);
    this.round = new Round(around.fetcher);
    this.state = {
      raw,
      range: resolve(raw, timeZone),
      refresh: place.refresh ?? dashboard.refresh ?? '',
      timeZone,
      variables,
      chosen: variables.map(chosen),
      round: undefined,
      error: undefined,
    };
  }

  get snapshot(): Snapshot {
    return this.state;
  }

  subscribe = (listener: () => void): (() => void) => {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  };

  getSnapshot = (): Snapshot => this.state;

  /** Begin, or begin anew: ask for the variables' choices, then let the panels ask. */
  start(): void {
    void this.begin({});
  }

  /** The same again, now. Panels ask at once, with the variables as they are. */
  refreshNow(): void {
    const known = this.state.round !== undefined;
    void this.begin({}, known);
  }

  setRange(raw: RawRange): void {
    void this.begin({ raw }, this.state.round !== undefined, true);
  }

  setRefresh(refresh: string): void {
    this.replace({ refresh });
    this.tellPlace(true);
  }

  /** Of axes, tables and of ranges like `now/d`. */
  setTimeZone(timeZone: string): void {
    void this.begin({ timeZone }, this.state.round !== undefined, true);
  }

  select(name: string, selected: string[]): void {
    const variables = this.state.variables.map((one) =>
      one.model.name === name ? { ...one, selected: valid(one.model, one.options, selected) } : one,
    );
    void this.begin({ variables, round: undefined }, false, true);
  }

  /** The address changed, by a link or the browser's buttons. */
  goTo(place: Place): void {
    const variables = this.state.variables.map((one) => ({
      ...one,
      selected: selectedAtFirst(one.model, place.variables[one.model.name]),
    }));
    const raw = place.range ?? this.dashboard.time ?? this.state.raw;
    const refresh = place.refresh ?? this.dashboard.refresh ?? '';
    const timeZone = place.timeZone ?? zoneOf(this.dashboard);
    void this.begin({ raw, refresh, timeZone, variables, round: undefined });
  }

  close(): void {
    this.round.cancel();
    this.listeners.clear();
  }

  private async begin(change: Partial<Snapshot>, atOnce = false, push = false): Promise<void> {
    this.round.cancel();
    const round = (this.round = new Round(this.around.fetcher));
    const raw = change.raw ?? this.state.raw;
    const range = resolve(raw, change.timeZone ?? this.state.timeZone);
    this.replace({ ...change, raw, range, error: undefined, ...(atOnce ? { round } : {}) });
    if (push) this.tellPlace(true);
    try {
      const variables = await this.filled(round, range, this.state.variables);
      if (round.cancelled) return;
      if (!atOnce || !same(variables, this.state.variables))
        this.replace({ variables, chosen: variables.map(chosen), round });
      this.tellPlace(false);
    } catch (error) {
      if (!round.cancelled) this.replace({ error: error as Error, round: undefined });
    }
  }

  private async filled(
    round: Round,
    range: Milliseconds,
    variables: readonly Variable[],
  ): Promise<Variable[]> {
    const known = new Map<string, Variable>();
    for (const model of orderOf(variables.map((one) => one.model))) {
      const before = variables.find((one) => one.model.name === model.name);
      const options =
        model.type === 'query' ? await this.ask(round, range, queryText(model), known) : fixedOptions(model);
      known.set(model.name, { model, options, selected: valid(model, options, before?.selected ?? []) });
    }
    return variables.flatMap((one) => known.get(one.model.name) ?? []);
  }

  private async ask(round: Round, range: Milliseconds, query: string, known: ReadonlyMap<string, Variable>) {
    const window = { ...range, interval: 60 };
    return queryOptions(await round.ask(expand(query, window, [...known.values()].map(chosen))));
  }

  private tellPlace(push: boolean): void {
    const { raw, refresh, timeZone, variables } = this.state;
    const told = variables.filter((one) => one.model.type !== 'constant' && !one.model.skipUrlSync);
    this.around.onPlace(
      {
        range: raw,
        refresh,
        timeZone: timeZone === zoneOf(this.dashboard) ? undefined : timeZone,
        variables: Object.fromEntries(told.map((one) => [one.model.name, one.selected])),
      },
      push,
    );
  }

  private replace(change: Partial<Snapshot>): void {
    this.state = { ...this.state, ...change };
    for (const listener of this.listeners) listener();
  }
}

const zoneOf = ({ timezone }: Dashboard): string => timezone || 'browser';

function same(a: readonly Variable[], b: readonly Variable[]): boolean {
  const essence = (all: readonly Variable[]) =>
    JSON.stringify(all.map(({ model, options, selected }) => [model.name, options, selected]));
  return essence(a) === essence(b);
}
