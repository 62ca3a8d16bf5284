// Asks for a passphrase in the terminal without showing it. Programs give it by FLOTILLA_PASSPHRASE.
import { createInterface } from 'node:readline';
import { Writable } from 'node:stream';

export const passphraseVariable = 'FLOTILLA_PASSPHRASE';

/** Throws a sentence where there is nobody to ask. */
export async function askPassphrase(question: string): Promise<string> {
  const given = process.env[passphraseVariable];
  if (given !== undefined && given !== '') return given;
  if (!process.stdin.isTTY)
    throw new Error(
      `The passphrase of the backup is asked for in a terminal, and there is none: set ${passphraseVariable} instead.`,
    );
  process.stderr.write(question);
  // What readline echoes goes nowhere.
  const output = new Writable({ write: (_chunk, _encoding, done) => done() });
  const lines = createInterface({ input: process.stdin, output, terminal: true });
  try {
    return await new Promise<string>((resolve, reject) => {
      lines.once('line', resolve);
      lines.once('close', () => reject(new Error('No passphrase was given: nothing was changed.')));
    });
  } finally {
    lines.close();
    process.stderr.write('\n');
  }
}
