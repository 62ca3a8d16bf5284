// Where a chart's axes have their marks and what these say. Pure.

/** From zero by `step`, and `top` itself: a mark too near to be told from it gives way. */
export function marksUpTo(top: number, step: number): number[] {
  const marks = [0];
  for (let mark = step; mark <= top - step / 2; mark += step) marks.push(mark);
  return [...marks, top];
}

const daySeconds = 86_400;

/**
 * `14:05`, with seconds where marks are closer than a minute, `5 Jan` where they are days apart: no two
 * of them read the same.
 */
export function clockLabel(date: Date, stepSeconds: number): string {
  if (stepSeconds >= daySeconds)
    return date.toLocaleDateString('en-GB', { day: 'numeric', month: 'short' });
  return date.toTimeString().slice(0, stepSeconds < 60 ? 8 : 5);
}
