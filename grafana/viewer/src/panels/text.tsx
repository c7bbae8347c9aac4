import { useMemo } from 'react';
import { renderTextPanelMarkdown } from '../grafana';
import { useDashboard, useSnapshot } from '../page/context';
import { replacer } from '../session/text';
import { optionsOf, type PanelProps } from './props';

/** Markdown, sanitized; `html` is read as Markdown, too, and `code` is shown as it is. */
export default function TextPanel({ panel }: PanelProps) {
  const { session } = useDashboard();
  const { chosen, raw } = useSnapshot(session);
  const { mode, content } = optionsOf(panel, { mode: 'markdown', content: '' });
  const text = useMemo(() => replacer(chosen, raw)(content), [chosen, raw, content]);
  const html = useMemo(() => (mode === 'code' ? '' : renderTextPanelMarkdown(text)), [mode, text]);
  if (mode === 'code') return <pre className="markdown">{text}</pre>;
  // renderTextPanelMarkdown sanitizes.
  return <div className="markdown" dangerouslySetInnerHTML={{ __html: html }} />;
}
