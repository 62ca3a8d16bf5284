import { kvConformance } from '../../../test/conformance/kv.ts';
import { storeConformance } from '../../../test/conformance/store.ts';
import { openMemoryKv, openMemoryStore } from './memory-store.ts';

const dispose = (): Promise<void> => Promise.resolve();

storeConformance('memory store', (options) => ({ store: openMemoryStore(options), dispose }));
kvConformance('memory store', (options) => ({ kv: openMemoryKv(options), dispose }));
