// Only what can be seen costs: whether an element is on the screen, and long lists that are drawn a
// portion a frame, so that the page answers meanwhile. Nothing is left out for good.
import {
  type ComputedRef,
  type ShallowRef,
  computed,
  onBeforeUnmount,
  onMounted,
  shallowRef,
  watch,
} from 'vue';
import { nextFrame } from '../cluster/frame.ts';

/** Things are ready a little before they scroll in. */
const marginPixels = 200;
const seen = new WeakMap<Element, ShallowRef<boolean>>();
let observer: IntersectionObserver | undefined;

/** False until it is mounted. One observer serves all elements of the page. */
export function useOnScreen(element: Readonly<ShallowRef<Element | null>>): ShallowRef<boolean> {
  const isOnScreen = shallowRef(false);
  let watched: Element | undefined;
  onMounted(() => {
    if (element.value === null) return;
    watched = element.value;
    seen.set(watched, isOnScreen);
    observer ??= new IntersectionObserver(note, { rootMargin: `${marginPixels}px` });
    observer.observe(watched);
  });
  onBeforeUnmount(() => watched !== undefined && observer?.unobserve(watched));
  return isOnScreen;
}

function note(entries: readonly IntersectionObserverEntry[]): void {
  for (const { target, isIntersecting } of entries) {
    const isOnScreen = seen.get(target);
    if (isOnScreen !== undefined) isOnScreen.value = isIntersecting;
  }
}

/** What a slow machine draws in a tenth of a second, with as many of another list beside it. */
const portion = 6;

/** The first of a list, more with each frame, in the end all. Give it what is drawn: it counts from then. */
export function useInPortions<T>(items: () => readonly T[]): ComputedRef<readonly T[]> {
  const shown = shallowRef(portion);
  let cancel: (() => void) | undefined;
  function more(): void {
    cancel = undefined;
    if (shown.value >= items().length) return;
    shown.value += portion;
    cancel = nextFrame(more);
  }
  watch(
    () => items().length > shown.value,
    (isMore) => {
      if (isMore) cancel ??= nextFrame(more);
    },
    { immediate: true },
  );
  onBeforeUnmount(() => cancel?.());
  return computed(() => items().slice(0, shown.value));
}
