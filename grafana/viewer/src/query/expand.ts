import { conditionalAll, interpolate, type Chosen } from './interpolate';
import { expandMacros, type Window } from './macros';

/** The SQL that reaches the database. Throws on a macro or a format that the data source does not know. */
export const expand = (sql: string, window: Window, variables: readonly Chosen[]): string =>
  expandMacros(interpolate(conditionalAll(sql, variables), variables), window);
