import { useId, useState } from 'react';
import { Combobox, MultiCombobox, type ComboboxOption } from '../grafana';
import { ALL } from '../query/interpolate';
import { exclusive, type Variable } from '../session/variables';
import { useDashboard, useSnapshot } from './context';

/** What can be chosen on this dashboard. */
export function Variables() {
  const { session } = useDashboard();
  const { variables } = useSnapshot(session);
  const shown = variables.filter(({ model }) => model.hide !== 2 && model.type !== 'constant');
  if (!shown.length) return null;
  return (
    <div className="variables" role="group" aria-label="Choose what is shown">
      {shown.map((variable) => (
        <Choice
          key={variable.model.name}
          variable={variable}
          onSelect={(values) => session.select(variable.model.name, values)}
        />
      ))}
    </div>
  );
}

interface Props {
  variable: Variable;
  onSelect: (values: string[]) => void;
}

function Choice({ variable, onSelect }: Props) {
  const { model } = variable;
  const id = useId();
  const label = model.label ?? model.name;
  return (
    <div className="variable" data-variable={model.name}>
      <label htmlFor={id} title={model.description} className={model.hide === 1 ? 'hidden' : undefined}>
        {label}
      </label>
      <Field id={id} variable={variable} onSelect={onSelect} />
    </div>
  );
}

function Field({ id, variable: { model, options, selected }, onSelect }: Props & { id: string }) {
  const all: ComboboxOption[] = model.includeAll ? [{ label: 'All', value: ALL }] : [];
  const choices: ComboboxOption[] = [...all, ...options.map(({ text, value }) => ({ label: text, value }))];
  if (model.type === 'textbox')
    return (
      <TextBox key={selected[0]} id={id} value={selected[0] ?? ''} onChange={(value) => onSelect([value])} />
    );
  if (model.multi)
    return (
      <MultiCombobox<string>
        id={id}
        options={choices}
        value={selected}
        width="auto"
        minWidth={18}
        maxWidth={50}
        onChange={(picked) =>
          onSelect(
            exclusive(
              selected,
              picked.map(({ value }) => value),
            ),
          )
        }
        noOptionsMessage="Nothing to choose from"
      />
    );
  return (
    <Combobox<string>
      id={id}
      options={choices}
      value={selected[0] ?? null}
      width="auto"
      minWidth={14}
      maxWidth={50}
      createCustomValue={model.allowCustomValue ?? false}
      onChange={({ value }) => onSelect([value])}
    />
  );
}

function TextBox({ id, value, onChange }: { id: string; value: string; onChange: (value: string) => void }) {
  const [text, setText] = useState(value);
  return (
    <input
      id={id}
      className="text-box"
      value={text}
      onChange={(event) => setText(event.target.value)}
      onBlur={() => text !== value && onChange(text)}
      onKeyDown={(event) => event.key === 'Enter' && onChange(text)}
    />
  );
}
