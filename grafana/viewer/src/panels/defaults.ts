/** What Grafana's panels assume where the JSON says nothing, and the options of fields that the JSON may name. */
import {
  FieldConfigOptionsRegistry,
  displayNameOverrideProcessor,
  identityOverrideProcessor,
  numberOverrideProcessor,
  valueMappingsOverrideProcessor,
  type Field,
  type FieldConfig,
  type FieldConfigPropertyItem,
  type FieldConfigSource,
} from '../grafana/data';

const LINES = {
  drawStyle: 'line',
  lineInterpolation: 'linear',
  lineWidth: 1,
  fillOpacity: 0,
  gradientMode: 'none',
  showPoints: 'auto',
  pointSize: 5,
  spanNulls: false,
  barAlignment: 0,
  barWidthFactor: 0.6,
  stacking: { mode: 'none', group: 'A' },
  axisPlacement: 'auto',
  axisGridShow: true,
};

interface Defaults {
  color: string;
  custom?: Record<string, unknown>;
}

const BY_TYPE: Readonly<Record<string, Defaults>> = {
  stat: { color: 'thresholds' },
  gauge: { color: 'thresholds' },
  bargauge: { color: 'thresholds' },
  table: { color: 'thresholds', custom: { align: 'auto', cellOptions: { type: 'auto' } } },
  timeseries: { color: 'palette-classic', custom: LINES },
  trend: { color: 'palette-classic', custom: LINES },
  barchart: { color: 'palette-classic', custom: { lineWidth: 1, fillOpacity: 80 } },
  piechart: { color: 'palette-classic' },
};

const STEPS = [
  { value: -Infinity, color: 'green' },
  { value: 80, color: 'red' },
];

/** The field config of a panel, completed. The lowest threshold, `null` in JSON, is -Infinity. */
export function completed(type: string, config: FieldConfigSource | undefined): FieldConfigSource {
  const house = BY_TYPE[type];
  const told: FieldConfig = config?.defaults ?? {};
  const defaults: FieldConfig = {
    ...told,
    color: told.color ?? { mode: house?.color ?? 'thresholds' },
    thresholds: withLowest(told.thresholds) ?? { mode: 'absolute' as never, steps: STEPS },
    custom: { ...house?.custom, ...told.custom },
  };
  const overrides = (config?.overrides ?? []).map((rule) => ({
    ...rule,
    properties: rule.properties.map((property) =>
      property.id === 'thresholds'
        ? { ...property, value: withLowest(property.value as FieldConfig['thresholds']) }
        : property,
    ),
  }));
  return { defaults, overrides };
}

function withLowest(thresholds: FieldConfig['thresholds']): FieldConfig['thresholds'] {
  if (!thresholds) return undefined;
  return {
    ...thresholds,
    steps: thresholds.steps.map((step) => ({ ...step, value: (step.value as number | null) ?? -Infinity })),
  };
}

type Process = FieldConfigPropertyItem['process'];

const STANDARD: Readonly<Record<string, Process>> = {
  unit: identityOverrideProcessor,
  min: numberOverrideProcessor as Process,
  max: numberOverrideProcessor as Process,
  decimals: numberOverrideProcessor as Process,
  displayName: displayNameOverrideProcessor as Process,
  fieldMinMax: identityOverrideProcessor,
  noValue: identityOverrideProcessor,
  thresholds: identityOverrideProcessor,
  mappings: valueMappingsOverrideProcessor as Process,
  links: identityOverrideProcessor,
  color: identityOverrideProcessor,
};

/** An item per standard option and per `custom.*` option of this config: others would be left out. */
export function registryOf(config: FieldConfigSource): FieldConfigOptionsRegistry {
  const custom = new Set(Object.keys((config.defaults.custom as object | undefined) ?? {}));
  for (const rule of config.overrides)
    for (const { id } of rule.properties)
      if (id.startsWith('custom.')) custom.add(id.slice('custom.'.length));
  const items = [
    ...Object.entries(STANDARD).map(([id, process]) => item(id, id, process, false)),
    ...[...custom].map((name) => item(`custom.${name}`, name, identityOverrideProcessor, true)),
  ];
  return new FieldConfigOptionsRegistry(() => items);
}

function item(id: string, path: string, process: Process, isCustom: boolean): FieldConfigPropertyItem {
  const label = id === 'custom.axisLabel';
  return {
    id,
    path,
    name: id,
    isCustom,
    process,
    shouldApply: (field: Field) => !label || field.type === 'number',
    settings: { expandTemplateVars: true },
    editor: Nothing,
    override: Nothing,
  };
}

const Nothing = (): null => null;
