import js from '@eslint/js';
import hooks from 'eslint-plugin-react-hooks';
import globals from 'globals';
import typescript from 'typescript-eslint';

const adapter = {
  patterns: [
    { group: ['@grafana/*'], message: 'Only src/grafana may import @grafana/*: add what you need there.' },
  ],
};

export default typescript.config(
  { ignores: ['dist', 'tests/output'] },
  js.configs.recommended,
  ...typescript.configs.strict,
  {
    languageOptions: { globals: { ...globals.browser, ...globals.node } },
    plugins: { 'react-hooks': hooks },
    rules: {
      'react-hooks/rules-of-hooks': 'error',
      'react-hooks/exhaustive-deps': 'error',
      'max-lines': ['error', 400],
      'no-restricted-imports': ['error', adapter],
      eqeqeq: 'error',
    },
  },
  { files: ['src/grafana/**'], rules: { 'no-restricted-imports': 'off' } },
);
