import { useRef } from 'react';
import { compareDataFrameStructures, type DataFrame } from '../grafana';

/** A number that changes when fields come, go or change their looks: only then a chart is built anew. */
export function useStructure(data: DataFrame[]): number {
  const seen = useRef({ data, rev: 1 });
  const before = seen.current;
  if (before.data !== data) {
    const same =
      before.data.length === data.length &&
      data.every((frame, at) =>
        compareDataFrameStructures(frame, before.data[at] ?? { fields: [], length: 0 }),
      );
    seen.current = { data, rev: same ? before.rev : before.rev + 1 };
  }
  return seen.current.rev;
}
