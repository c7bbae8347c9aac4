import type { AnchorHTMLAttributes, MouseEvent } from 'react';
import { useDashboard } from './context';

/** A link; within the viewer it changes the page without loading it anew. */
export function SpaLink({ href = '', target, children, ...rest }: AnchorHTMLAttributes<HTMLAnchorElement>) {
  const { navigate } = useDashboard();
  const follow = (event: MouseEvent): void => {
    const elsewhere =
      target === '_blank' || event.ctrlKey || event.metaKey || event.shiftKey || event.button !== 0;
    if (elsewhere || !href.startsWith('/d/')) return;
    event.preventDefault();
    navigate(href);
  };
  return (
    <a
      href={href}
      target={target}
      {...(target === '_blank' ? { rel: 'noreferrer' } : {})}
      {...rest}
      onClick={follow}
    >
      {children}
    </a>
  );
}
