// Numbers and times as a person reads them. Pure: the present is a parameter. Never guesses:
// what is unknown is given as undefined and left out by the caller.

const byteUnits = ['B', 'KB', 'MB', 'GB', 'TB', 'PB'] as const;

/** Binary multiples under the names people know: 536870912 → `512 MB`. */
export function formatBytes(bytes: number): string {
  let value = Math.max(0, bytes);
  let unit = 0;
  while (value >= 1023.5 && unit < byteUnits.length - 1) {
    value /= 1024;
    unit++;
  }
  const digits = value >= 10 || unit < 3 ? 0 : 1;
  return `${trimZero(value.toFixed(digits))} ${byteUnits[unit]}`;
}

/** Nanocores as a share of one core up to one core, then as cores: `12 %`, `1.5 cores`. */
export function formatCpu(nanoCores: number): string {
  const cores = nanoCores / 1e9;
  if (cores < 1) return formatShare(cores);
  const text = trimZero(cores.toFixed(1));
  return text === '1' ? '1 core' : `${text} cores`;
}

/** 0.414 → `41 %`; tiny but present amounts say so. */
export function formatShare(share: number): string {
  if (share > 0 && share < 0.01) return '< 1 %';
  return `${Math.round(share * 100)} %`;
}

/** Bytes per second: `1.2 MB/s`. */
export function formatRate(bytesPerSecond: number): string {
  return `${formatBytes(bytesPerSecond)}/s`;
}

/** `just now`, `12 s ago`, `3 min ago`, `5 h ago`, `2 days ago`. */
export function formatAgo(timestamp: string | undefined, nowMs: number): string {
  if (timestamp === undefined) return '';
  const seconds = Math.max(0, Math.floor((nowMs - Date.parse(timestamp)) / 1000));
  return seconds < 5 ? 'just now' : `${formatDuration(seconds)} ago`;
}

/** The largest unit only: `12 s`, `3 min`, `5 h`, `2 days`. */
export function formatDuration(seconds: number): string {
  if (seconds < 60) return `${Math.floor(seconds)} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 86_400) return `${Math.floor(seconds / 3600)} h`;
  const days = Math.floor(seconds / 86_400);
  return `${days} ${days === 1 ? 'day' : 'days'}`;
}

/** `1 copy`, `3 copies`. */
export function plural(count: number, one: string, many = `${one}s`): string {
  return `${count} ${count === 1 ? one : many}`;
}

/** `a`, `a and b`, `a, b and c`. */
export function joinWords(words: readonly string[]): string {
  if (words.length < 2) return words.join('');
  return `${words.slice(0, -1).join(', ')} and ${words.at(-1)}`;
}

export function capitalize(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

/** `jellyfin-server` → `Jellyfin server`: how an app is called on pages for newcomers. */
export function displayName(name: string): string {
  return capitalize(name.replaceAll(/[-_.]+/g, ' '));
}

function trimZero(text: string): string {
  return text.includes('.') ? text.replace(/\.?0+$/, '') : text;
}
