import { useMemo, useState } from 'react';
import { Icon } from '../grafana';
import { NARROW, panelHeight } from '../session/interval';
import { useDashboard } from './context';
import { PanelFrame } from './PanelFrame';
import { sectionsOf, type Section } from './sections';

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
