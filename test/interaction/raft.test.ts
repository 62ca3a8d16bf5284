// Raft's scripts: each file in testdata/raft tells one scenario. They are meant to be read:
// test/interaction/testdata/raft/README.md says in which order.
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { RaftHarness } from './raft-harness.ts';
import { runScript } from './script.ts';

const folder = path.join(import.meta.dirname, 'testdata', 'raft');
const scripts = readdirSync(folder).filter((name) => name.endsWith('.txt'));

describe('raft does what the script says', () => {
  it.for(scripts)('%s', async (name) => {
    const file = path.join(folder, name);
    const harness = new RaftHarness();
    const output = runScript(readFileSync(file, 'utf8'), (line) => harness.run(line));
    await expect(output).toMatchFileSnapshot(file);
  });
});
