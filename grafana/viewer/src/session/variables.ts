/** The variables of a dashboard: their choices, and which of these are chosen. */
import type { Option, VariableModel } from '../model';
import type { Answer } from '../query/client';
import { ALL, lookupIn, fill, type Chosen } from '../query/interpolate';

export interface Variable {
  model: VariableModel;
  options: Option[];
  /** As in the address: `$__all` where All is chosen. */
  selected: string[];
}

export const VARIABLE_TYPES = ['query', 'custom', 'constant', 'textbox', 'interval', 'datasource'] as const;

const listOf = (value: string | string[] | undefined): string[] =>
  value === undefined || value === '' ? [] : Array.isArray(value) ? value : [value];

/** What the address says, or else the dashboard. */
export function selectedAtFirst(model: VariableModel, address: readonly string[] | undefined): string[] {
  if (model.type === 'constant') return [queryText(model)];
  if (address?.length) return model.multi ? [...address] : address.slice(-1);
  const current = listOf(model.current?.value);
  if (current.length || model.type !== 'textbox') return current;
  return [queryText(model)];
}

export const queryText = ({ query }: VariableModel): string =>
  typeof query === 'string' ? query : (query?.rawSql ?? '');

/** `text : value, text : value`; commas behind a backslash belong to the text. */
export function customOptions(query: string): Option[] {
  return (query.match(/(?:\\,|[^,])+/g) ?? [])
    .map((part) => part.replaceAll('\\,', ',').trim())
    .filter(Boolean)
    .map((part) => {
      const [, text, value] = /^(.+?)\s:\s(.+)$/.exec(part) ?? [];
      return { text: (text ?? part).trim(), value: (value ?? part).trim() };
    });
}

/** The first column is the value, the second the text. Only the first of equal values is kept. */
export function queryOptions(answer: Answer): Option[] {
  const options = new Map<string, Option>();
  for (const row of answer.data) {
    const value = String(row[0] ?? '');
    if (!options.has(value)) options.set(value, { value, text: String(row[1] ?? row[0] ?? '') });
  }
  return [...options.values()];
}

/** Choices that need no query. */
export function fixedOptions(model: VariableModel): Option[] {
  const query = queryText(model);
  switch (model.type) {
    case 'custom':
      return model.options?.length
        ? model.options.filter((one) => one.value !== ALL).map(({ text, value }) => ({ text, value }))
        : customOptions(query);
    case 'interval':
      return query.split(',').map((one) => ({ text: one.trim(), value: one.trim() }));
    case 'datasource':
      return listOf(model.current?.value).map((value, at) => ({
        value,
        text: listOf(model.current?.text)[at] ?? value,
      }));
    case 'constant':
      return [{ text: query, value: query }];
    default:
      return [];
  }
}

/** Of what was selected, what can be; if nothing of it can, All or the first choice. */
export function valid(
  model: VariableModel,
  options: readonly Option[],
  selected: readonly string[],
): string[] {
  if (model.type === 'textbox') return selected.length ? [...selected] : [''];
  if (model.includeAll && selected.includes(ALL)) return [ALL];
  const possible = selected.filter(
    (value) => model.allowCustomValue === true || options.some((option) => option.value === value),
  );
  if (possible.length) return model.multi ? possible : possible.slice(-1);
  if (model.includeAll) return [ALL];
  return options[0] ? [options[0].value] : [];
}

/** As queries and links see it. */
export function chosen({ model, options, selected }: Variable): Chosen {
  const everything = selected.includes(ALL);
  const values = everything
    ? model.allValue
      ? [model.allValue]
      : options.map((one) => one.value)
    : selected;
  const texts = values.map((value) => options.find((one) => one.value === value)?.text ?? value);
  return { name: model.name, values, texts, several: model.multi === true, everything };
}

/** The variables that the query of this one names must be known before it. */
export function orderOf(models: readonly VariableModel[]): VariableModel[] {
  const names = new Set(models.map((model) => model.name));
  const done = new Set<string>();
  const ordered: VariableModel[] = [];
  const visit = (model: VariableModel, path: readonly string[]): void => {
    if (done.has(model.name) || path.includes(model.name)) return;
    for (const name of namesIn(queryText(model), names)) {
      const other = models.find((one) => one.name === name);
      if (other) visit(other, [...path, model.name]);
    }
    done.add(model.name);
    ordered.push(model);
  };
  for (const model of models) visit(model, []);
  return ordered;
}

export function namesIn(text: string, names: ReadonlySet<string>): Set<string> {
  const found = new Set<string>();
  fill(text, (name) => {
    if (names.has(name)) found.add(name);
    return undefined;
  });
  return found;
}

/** What is chosen, in words. */
export const described = (variable: Variable): string =>
  lookupIn([chosen(variable)])(variable.model.name, undefined, 'text') ?? '';

/** All and others exclude each other: the newer choice counts. None is All. */
export function exclusive(before: readonly string[], after: readonly string[]): string[] {
  if (!after.length) return [ALL];
  if (!after.includes(ALL)) return [...after];
  return before.includes(ALL) && after.length > 1 ? after.filter((value) => value !== ALL) : [ALL];
}
