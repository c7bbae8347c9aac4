import { useEffect, useState, type RefObject } from 'react';

/** Whether the element is, or ever was, near the visible part of the page. */
export function useNear(ref: RefObject<Element | null>, always: boolean): boolean {
  const [near, setNear] = useState(false);
  useEffect(() => {
    const element = ref.current;
    if (near || !element) return undefined;
    const observer = new IntersectionObserver(
      (entries) => {
        if (entries.some((entry) => entry.isIntersecting)) setNear(true);
      },
      { rootMargin: '400px 0px' },
    );
    observer.observe(element);
    return () => observer.disconnect();
  }, [ref, near]);
  return near || always;
}
