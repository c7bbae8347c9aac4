import { memo } from 'react';
import { formattedValueToString, getFieldDisplayName, type DataFrame } from '../grafana';

const ROWS = 50;

/** What a picture shows, as a table for those who do not see it: the latest rows, if there are many. */
export const Alternative = memo(function Alternative({ title, data }: { title: string; data: DataFrame[] }) {
  return (
    <div className="hidden">
      {data.map((frame, at) => {
        const first = Math.max(frame.length - ROWS, 0);
        const rows = Array.from({ length: frame.length - first }, (_, row) => first + row);
        return (
          <table key={at}>
            <caption>{first ? `${title}, the last ${ROWS} of ${frame.length} rows` : title}</caption>
            <thead>
              <tr>
                {frame.fields.map((field, column) => (
                  <th key={column} scope="col">
                    {getFieldDisplayName(field, frame, data)}
                  </th>
                ))}
              </tr>
            </thead>
            <tbody>
              {rows.map((row) => (
                <tr key={row}>
                  {frame.fields.map((field, column) => (
                    <td key={column}>
                      {field.display
                        ? formattedValueToString(field.display(field.values[row]))
                        : String(field.values[row] ?? '')}
                    </td>
                  ))}
                </tr>
              ))}
            </tbody>
          </table>
        );
      })}
    </div>
  );
});
