import { useEffect, useState, type RefObject } from 'react';

/** Whether the element is near the visible part of the page, and whether it ever was. */
export function useNear(ref: RefObject<Element | null>): { near: boolean; seen: boolean } {
  const [state, setState] = useState({ near: false, seen: false });
  useEffect(() => {
    const element = ref.current;
    if (!element) return undefined;
    const observer = new IntersectionObserver(
      (entries) => {
        const near = entries.at(-1)?.isIntersecting ?? false;
        setState((before) => (before.near === near ? before : { near, seen: before.seen || near }));
      },
      { rootMargin: '200px 0px' },
    );
    observer.observe(element);
    return () => observer.disconnect();
  }, [ref]);
  return state;
}
