/** Asking the server. Queries of one round that are the same are sent once; a round can be cancelled. */

export interface Column {
  name: string;
  type: string;
}

/** ClickHouse's JSONCompact. */
export interface Answer {
  meta: Column[];
  data: unknown[][];
}

export class QueryError extends Error {
  override readonly name = 'QueryError';

  constructor(
    message: string,
    readonly code?: number,
  ) {
    super(message);
  }
}

/** All queries of one state of a dashboard: one refresh, one range, one choice of variables. */
export class Round {
  private readonly controller = new AbortController();
  private readonly answers = new Map<string, Promise<Answer>>();

  constructor(private readonly fetcher: typeof fetch = (...call) => fetch(...call)) {}

  get cancelled(): boolean {
    return this.controller.signal.aborted;
  }

  /** Raises QueryError, or an AbortError after `cancel`. Callers get the same answer and must not change it. */
  ask(sql: string): Promise<Answer> {
    const known = this.answers.get(sql);
    if (known) return known;
    const answer = this.send(sql);
    answer.catch(() => undefined); // whoever asks sees the error; nobody may be left by then
    this.answers.set(sql, answer);
    return answer;
  }

  cancel(): void {
    this.controller.abort();
  }

  private async send(sql: string): Promise<Answer> {
    let response: Response;
    try {
      response = await this.fetcher('/api/query', {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ sql }),
        signal: this.controller.signal,
      });
    } catch (error) {
      if (this.cancelled) throw error;
      throw new QueryError('The server does not answer. Is the stack running? `gallery status` tells.');
    }
    const text = await response.text();
    let body: unknown;
    try {
      body = JSON.parse(text);
    } catch {
      body = undefined;
    }
    if (response.ok && isAnswer(body)) return body;
    const told = body as { error?: string; code?: number } | undefined;
    throw new QueryError(
      told?.error ?? `The server answered ${response.status}: ${text.slice(0, 300)}`,
      told?.code,
    );
  }
}

function isAnswer(body: unknown): body is Answer {
  const answer = body as Partial<Answer> | undefined;
  return Array.isArray(answer?.meta) && Array.isArray(answer.data);
}

/** JSON from the server. Raises QueryError. */
export async function getJson<T>(path: string, signal?: AbortSignal): Promise<T> {
  let response: Response;
  try {
    response = await fetch(path, signal ? { signal } : {});
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new QueryError('The server does not answer. Is the stack running? `gallery status` tells.');
  }
  if (!response.ok) throw new QueryError(`${path}: the server answered ${response.status}`, response.status);
  return (await response.json()) as T;
}
