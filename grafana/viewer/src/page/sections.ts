import type { Panel } from '../model';

export interface Section {
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
