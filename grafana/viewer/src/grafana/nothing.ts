/** In place of libraries that @grafana/ui imports and the viewer never uses. */
const nothing = {};
export const loader = nothing;
export default nothing;
