// Where a chart's axes have their marks and what these say. Pure.

/** From zero by `step`, and `top` itself: a mark too near to be told from it gives way. */
export function marksUpTo(top: number, step: number): number[] {
  const marks = [0];
  for (let mark = step; mark <= top - step / 2; mark += step) marks.push(mark);
  return [...marks, top];
}

/** `14:05`, with seconds where marks are closer than a minute: no two of them read the same. */
export function clockLabel(date: Date, stepSeconds: number): string {
  return date.toTimeString().slice(0, stepSeconds < 60 ? 8 : 5);
}
