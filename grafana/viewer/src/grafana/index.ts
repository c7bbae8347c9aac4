/**
 * The adapter: only this folder imports from @grafana/* (eslint holds it). What is listed here is what the
 * viewer relies on; look here first when the libraries are updated.
 */
export * from './data';
export { initPluginTranslations } from '@grafana/i18n';
export {
  BarGaugeDisplayMode,
  BarGaugeNamePlacement,
  BarGaugeValueMode,
  DashboardCursorSync,
  LegendDisplayMode,
  SortOrder,
  TooltipDisplayMode,
  type VizLegendOptions,
} from '@grafana/schema';
export {
  BarGauge,
  BigValue,
  BigValueColorMode,
  BigValueGraphMode,
  BigValueJustifyMode,
  BigValueTextMode,
  Button,
  Combobox,
  Dropdown,
  GlobalStyles,
  Icon,
  Menu,
  MultiCombobox,
  PanelChrome,
  PanelContextProvider,
  PortalContainer,
  RefreshPicker,
  SeriesVisibilityChangeMode,
  TimeRangePicker,
  TimeSeries,
  ToolbarButton,
  TooltipPlugin2,
  type UPlotConfigBuilder,
  VizLegend,
  VizRepeater,
  VizTooltipContent,
  VizTooltipHeader,
  VizTooltipWrapper,
  getFieldDisplayItems,
  usePanelContext,
  useTheme2,
  type ComboboxOption,
  type VizLegendItem,
  type VizRepeaterRenderValueProps,
} from '@grafana/ui';
