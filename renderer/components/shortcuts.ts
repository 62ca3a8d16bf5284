// Keys that work on every page. Typing in a field is left alone; only Ctrl/Cmd-K reaches over it.
import { onBeforeUnmount, onMounted } from 'vue';
import { useRouter } from 'vue-router';
import { useOverlays } from '../stores/overlays.ts';

export interface Shortcut {
  readonly keys: readonly string[];
  readonly does: string;
}

export const shortcuts: readonly Shortcut[] = [
  { keys: ['Ctrl', 'K'], does: 'Find an app, a machine or an action' },
  { keys: ['/'], does: 'Search this page' },
  { keys: ['N'], does: 'Deploy an app' },
  { keys: ['G', 'H'], does: 'Go home' },
  { keys: ['G', 'A'], does: 'Go to apps' },
  { keys: ['G', 'M'], does: 'Go to machines' },
  { keys: ['G', 'C'], does: 'Go to the cluster' },
  { keys: ['?'], does: 'Show these keys' },
  { keys: ['Esc'], does: 'Close what lies on top' },
];

const pages: Readonly<Record<string, string>> = {
  h: 'home',
  a: 'apps',
  m: 'machines',
  c: 'cluster',
};
const chordMs = 1200;

export function useShortcuts(): void {
  const overlays = useOverlays();
  const router = useRouter();
  let goPressedMs = Number.NEGATIVE_INFINITY;

  function onKey(event: KeyboardEvent): void {
    if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === 'k') {
      event.preventDefault();
      overlays.open('palette');
      return;
    }
    if (event.ctrlKey || event.metaKey || event.altKey || isTyping(event.target)) return;
    if (overlays.current !== undefined || document.querySelector('[role="dialog"]') !== null)
      return;
    const page = event.timeStamp - goPressedMs < chordMs ? pages[event.key] : undefined;
    goPressedMs = event.key === 'g' ? event.timeStamp : Number.NEGATIVE_INFINITY;
    if (page !== undefined) void router.push({ name: page });
    else if (event.key === '?') overlays.open('keys');
    else if (event.key === 'n') overlays.open('deploy');
    else if (event.key === '/') focusSearch();
    else return;
    event.preventDefault();
  }

  onMounted(() => addEventListener('keydown', onKey));
  onBeforeUnmount(() => removeEventListener('keydown', onKey));

  function focusSearch(): void {
    const field = document.querySelector<HTMLInputElement>('input[type="search"]');
    if (field === null) overlays.open('palette');
    else field.focus();
  }
}

function isTyping(target: EventTarget | null): boolean {
  return (
    target instanceof HTMLElement &&
    target.closest('input, textarea, select, [contenteditable]') !== null
  );
}
