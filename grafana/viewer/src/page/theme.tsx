/** Light, dark, or as the system says. */
import { createContext, useContext, useEffect, useMemo, useState, type ReactNode } from 'react';
import { createTheme, GlobalStyles, ThemeContext, type GrafanaTheme2 } from '../grafana';

export type Mode = 'system' | 'light' | 'dark';
const KEY = 'gallery.theme';

interface Choice {
  mode: Mode;
  setMode: (mode: Mode) => void;
}

const ModeContext = createContext<Choice>({ mode: 'system', setMode: () => undefined });
export const useMode = (): Choice => useContext(ModeContext);

function stored(): Mode {
  const text = localStorage.getItem(KEY);
  return text === 'light' || text === 'dark' ? text : 'system';
}

/** Tokens for viewer.css. */
function tokens({ colors, isDark }: GrafanaTheme2): Record<string, string> {
  return {
    'color-scheme': isDark ? 'dark' : 'light',
    '--canvas': colors.background.canvas,
    '--primary': colors.background.primary,
    '--secondary': colors.background.secondary,
    '--elevated': colors.background.elevated,
    '--text': colors.text.primary,
    '--text-weak': colors.text.secondary,
    '--link': colors.text.link,
    '--border': colors.border.weak,
    '--border-medium': colors.border.medium,
    '--hover': colors.action.hover,
    '--focus': colors.primary.border,
    '--error': colors.error.text,
    '--error-border': colors.error.border,
    '--bar': colors.background.canvas,
  };
}

export function Theme({ children }: { children: ReactNode }) {
  const [mode, setMode] = useState(stored);
  const system = useSystemDark();
  const dark = mode === 'system' ? system : mode === 'dark';
  const theme = useMemo(() => createTheme({ colors: { mode: dark ? 'dark' : 'light' } }), [dark]);
  useEffect(() => {
    for (const [name, value] of Object.entries(tokens(theme)))
      document.documentElement.style.setProperty(name, value);
    document.documentElement.dataset.theme = dark ? 'dark' : 'light';
  }, [theme, dark]);
  const choice = useMemo(
    () => ({
      mode,
      setMode: (chosen: Mode) => {
        localStorage.setItem(KEY, chosen);
        setMode(chosen);
      },
    }),
    [mode],
  );
  return (
    <ModeContext.Provider value={choice}>
      <ThemeContext.Provider value={theme}>
        <GlobalStyles />
        {children}
      </ThemeContext.Provider>
    </ModeContext.Provider>
  );
}

function useSystemDark(): boolean {
  const [dark, setDark] = useState(() => matchMedia('(prefers-color-scheme: dark)').matches);
  useEffect(() => {
    const media = matchMedia('(prefers-color-scheme: dark)');
    const listen = (): void => setDark(media.matches);
    media.addEventListener('change', listen);
    return () => media.removeEventListener('change', listen);
  }, []);
  return dark;
}
