import { useMemo, useState } from 'react';
import { Icon } from '../grafana';
import type { Panel } from '../model';
import { NARROW, panelHeight } from '../session/interval';
import { useDashboard } from './context';
import { PanelFrame } from './PanelFrame';

interface Section {
  row: Panel | undefined;
  panels: Panel[];
}

/** Rows and the panels below each: `panels` of a collapsed row, or those that follow it. */
export function sectionsOf(panels: readonly Panel[]): Section[] {
  const placed = [...panels].sort((a, b) => a.gridPos.y - b.gridPos.y || a.gridPos.x - b.gridPos.x);
  const sections: Section[] = [];
  for (const panel of placed) {
    if (panel.type === 'row') sections.push({ row: panel, panels: [...(panel.panels ?? [])] });
    else if (sections.length) sections.at(-1)?.panels.push(panel);
    else sections.push({ row: undefined, panels: [panel] });
  }
  return sections;
}

export function Grid() {
  const { dashboard } = useDashboard();
  const sections = useMemo(() => sectionsOf(dashboard.panels), [dashboard]);
  return (
    <>
      {sections.map((section, at) => (
        <Rows key={section.row?.id ?? -at} section={section} />
      ))}
    </>
  );
}

function Rows({ section: { row, panels } }: { section: Section }) {
  const { everything, width } = useDashboard();
  const [collapsed, setCollapsed] = useState(row?.collapsed ?? false);
  const shown = !collapsed || everything;
  const top = Math.min(...panels.map(({ gridPos }) => gridPos.y));
  const narrow = width < NARROW;
  const id = `row-${row?.id ?? 'first'}`;
  return (
    <section aria-labelledby={row ? id : undefined}>
      {row && (
        <h2 className="row" id={id}>
          <button type="button" aria-expanded={shown} onClick={() => setCollapsed(shown)}>
            <Icon name={shown ? 'angle-down' : 'angle-right'} />
            {row.title}
          </button>
        </h2>
      )}
      {shown && (
        <div className={narrow ? 'panels narrow' : 'panels'}>
          {panels.map((panel) => {
            const { x, y, w, h } = panel.gridPos;
            const place = narrow
              ? {}
              : { gridColumn: `${x + 1} / span ${w}`, gridRow: `${y - top + 1} / span ${h}` };
            return (
              <div key={panel.id} style={place}>
                <PanelFrame panel={panel} height={panelHeight(h)} />
              </div>
            );
          })}
        </div>
      )}
    </section>
  );
}
