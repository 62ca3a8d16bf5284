// Which sheet lies over the page: at most one at a time, so that modal never lies on modal.
import { defineStore } from 'pinia';
import { computed, ref } from 'vue';

export type Overlay =
  | 'deploy'
  | 'palette'
  | 'keys'
  | 'find-machine'
  | 'add-machine'
  | 'other-devices';

export const useOverlays = defineStore('overlays', () => {
  const current = ref<Overlay>();
  /** Name of the Machine that `add-machine` is about. */
  const machineToAdd = ref('');

  function open(overlay: Overlay): void {
    current.value = overlay;
  }
  function addMachine(name: string): void {
    machineToAdd.value = name;
    open('add-machine');
  }
  function close(): void {
    current.value = undefined;
  }
  /** For v-model:open of a dialog. */
  function openState(overlay: Overlay) {
    return computed({
      get: () => current.value === overlay,
      set: (isOpen) => (isOpen ? open(overlay) : current.value === overlay && close()),
    });
  }
  return { current, machineToAdd, open, addMachine, close, openState };
});
