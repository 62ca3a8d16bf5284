import { storeConformance } from '../../../test/conformance/store.ts';
import { openMemoryStore } from './memory-store.ts';

storeConformance('memory store', (options) => ({
  store: openMemoryStore(options),
  dispose: () => Promise.resolve(),
}));
