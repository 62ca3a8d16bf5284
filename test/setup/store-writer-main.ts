// A program for the store's own tests: writes to the store in the directory it is given, as fast as it
// goes and 16 at a time, printing each revision once it is acknowledged, until it is killed.
import { writeSync } from 'node:fs';
import { openStoreIn } from './store.ts';

const [, , directory = ''] = process.argv;
const { store } = await openStoreIn(directory);
let revision = await store.currentRevision();
for (;;) {
  const group = Array.from({ length: 16 }, async () => {
    const expected = ++revision;
    const value = new Uint8Array(500);
    value.set(new TextEncoder().encode(String(expected).padStart(10)));
    const result = await store.put(`key${expected}`, value, 0);
    if (!result.ok || result.revision !== expected) throw new Error(`no revision ${expected}`);
    writeSync(1, `${expected}\n`);
  });
  await Promise.all(group);
}
