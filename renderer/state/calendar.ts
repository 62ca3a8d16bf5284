// Days and times of day in the reader's own time zone. Pure of the present: it is a parameter.

/** `14:02` */
export function timeOfDay(timestamp: string): string {
  const date = new Date(timestamp);
  if (Number.isNaN(date.getTime())) return '';
  return `${two(date.getHours())}:${two(date.getMinutes())}`;
}

/** `Today`, `Yesterday`, else `21 November`. */
export function dayOf(timestamp: string, nowMs: number): string {
  const date = new Date(timestamp);
  const today = new Date(nowMs);
  if (isSameDay(date, today)) return 'Today';
  const yesterday = new Date(today.getFullYear(), today.getMonth(), today.getDate() - 1);
  if (isSameDay(date, yesterday)) return 'Yesterday';
  return date.toLocaleDateString('en-GB', { day: 'numeric', month: 'long' });
}

function isSameDay(a: Date, b: Date): boolean {
  return (
    a.getFullYear() === b.getFullYear() &&
    a.getMonth() === b.getMonth() &&
    a.getDate() === b.getDate()
  );
}

function two(value: number): string {
  return String(value).padStart(2, '0');
}

/** `14:02:07`, for logs. */
export function timeOfDaySeconds(timestamp: string): string {
  const date = new Date(timestamp);
  if (Number.isNaN(date.getTime())) return '';
  return `${timeOfDay(timestamp)}:${two(date.getSeconds())}`;
}
