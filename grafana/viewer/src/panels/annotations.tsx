/** Marks over time: a line for a moment, a shaded region for a span, and what they say. */
import { useEffect, useLayoutEffect, useMemo, useRef, useState } from 'react';
import { createPortal } from 'react-dom';
import type uPlot from 'uplot';
import { dateTimeFormat, useTheme2, type UPlotConfigBuilder } from '../grafana';
import type { Panel } from '../model';
import { useDashboard, useSnapshot } from '../page/context';
import { annotationQueries, readMarks, type Mark } from '../session/annotations';

interface Props {
  panel: Panel;
  config: UPlotConfigBuilder;
  timeZone: string;
}

export function AnnotationLayer({ panel, config, timeZone }: Props) {
  const marks = useMarks(panel);
  const latest = useRef(marks);
  const plot = useRef<uPlot>(undefined);
  const [place, setPlace] = useState<Place>();
  const theme = useTheme2();

  useLayoutEffect(() => {
    config.addHook('init', (u) => {
      plot.current = u;
    });
    config.addHook('drawClear', (u) =>
      drawMarks(u, latest.current, (name) => theme.visualization.getColorByName(name)),
    );
    config.addHook('draw', (u) => {
      const next = placeOf(u);
      setPlace((before) =>
        before && JSON.stringify(before.box) === JSON.stringify(next.box) && before.root === next.root
          ? before
          : next,
      );
    });
  }, [config, theme]);

  useEffect(() => {
    latest.current = marks;
    plot.current?.redraw(false);
  }, [marks]);

  if (!place) return null;
  return createPortal(
    <ul className="flags" aria-label="Annotations">
      {marks.map((mark, at) => (
        <Flag
          key={at}
          mark={mark}
          place={place}
          timeZone={timeZone}
          color={theme.visualization.getColorByName(mark.color)}
        />
      ))}
    </ul>,
    place.root,
  );
}

interface Place {
  root: HTMLElement;
  /** Left edge, width, bottom of the plot in pixels; first and last moment. */
  box: [number, number, number, number, number];
}

function placeOf(u: uPlot): Place {
  const { left, width } = u.over.getBoundingClientRect();
  const outer = u.root.getBoundingClientRect();
  const bottom = u.over.offsetTop + u.over.offsetHeight;
  return {
    root: u.root,
    box: [left - outer.left, width, bottom, u.scales.x?.min ?? 0, u.scales.x?.max ?? 1],
  };
}

function drawMarks(u: uPlot, marks: readonly Mark[], color: (name: string) => string): void {
  const { ctx, bbox } = u;
  ctx.save();
  ctx.beginPath();
  ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
  ctx.clip();
  for (const mark of marks) {
    const from = u.valToPos(mark.from, 'x', true);
    const to = u.valToPos(mark.to, 'x', true);
    ctx.fillStyle = ctx.strokeStyle = color(mark.color);
    if (mark.to > mark.from) {
      ctx.globalAlpha = 0.25;
      ctx.fillRect(from, bbox.top, to - from, bbox.height);
      ctx.globalAlpha = 1;
    }
    ctx.lineWidth = devicePixelRatio;
    ctx.setLineDash([4 * devicePixelRatio, 4 * devicePixelRatio]);
    for (const x of mark.to > mark.from ? [from, to] : [from]) {
      ctx.beginPath();
      ctx.moveTo(x, bbox.top);
      ctx.lineTo(x, bbox.top + bbox.height);
      ctx.stroke();
    }
  }
  ctx.restore();
}

function Flag({
  mark,
  place,
  timeZone,
  color,
}: {
  mark: Mark;
  place: Place;
  timeZone: string;
  color: string;
}) {
  const [left, width, bottom, min, max] = place.box;
  const x = (moment: number): number => left + ((moment - min) / (max - min)) * width;
  const from = Math.max(x(mark.from), left);
  const to = Math.min(x(mark.to), left + width);
  if (to < left || from > left + width) return null;
  const region = mark.to > mark.from;
  const when = [mark.from, ...(region ? [mark.to] : [])]
    .map((moment) => dateTimeFormat(moment, { timeZone }))
    .join(' – ');
  return (
    <li
      className={region ? 'flag region' : 'flag'}
      style={{
        left: region ? from : from - 6,
        top: bottom,
        width: region ? Math.max(to - from, 3) : 12,
        color,
      }}
    >
      <button type="button" aria-label={`${mark.text}, ${when}`}>
        <span aria-hidden className="flag-sign" />
        <span className={from > left + width / 2 ? 'flag-text left' : 'flag-text'} role="presentation">
          <strong>{mark.text}</strong>
          <br />
          {when}
        </span>
      </button>
    </li>
  );
}

/** The marks as they were, if the new ones are the same: then nothing is drawn anew. */
const unless = (before: Mark[], found: Mark[]): Mark[] =>
  JSON.stringify(before) === JSON.stringify(found) ? before : found;

/** The marks on a panel: what its dashboard's annotations ask for, kept until the next answers. */
function useMarks(panel: Panel): Mark[] {
  const { dashboard, session } = useDashboard();
  const { round, range, chosen } = useSnapshot(session);
  const [marks, setMarks] = useState<Mark[]>([]);
  const queries = useMemo(
    () => annotationQueries(dashboard, panel, range, chosen),
    [dashboard, panel, range, chosen],
  );
  useEffect(() => {
    if (!round) return undefined;
    let current = true;
    Promise.all(queries.map(async ({ sql, color }) => readMarks(await round.ask(sql), color))).then(
      (found) => current && !round.cancelled && setMarks((before) => unless(before, found.flat())),
      () => current && !round.cancelled && setMarks([]),
    );
    return () => {
      current = false;
    };
  }, [round, queries]);
  return marks;
}
