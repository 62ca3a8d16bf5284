// Why something sealed can't be opened, each as one sentence about "it": callers put the file's name first.

const sentences = {
  'not-sealed': 'is not an encrypted file (it does not begin as one of age, format v1)',
  cut: 'ends too early: it was not copied as a whole',
  damaged: 'is damaged: some of its bytes are not what was written',
  'wrong-passphrase': 'does not open with this passphrase',
  'wrong-key': 'is encrypted for another key than the one given',
  'no-passphrase': 'was not made to be opened by a passphrase',
  'too-costly': 'asks for more work on the passphrase than is allowed',
} as const;

export type SealedStreamProblem = keyof typeof sentences;

/** Its message goes on after a name: "FILE is damaged: …". */
export class SealedStreamError extends Error {
  override readonly name = 'SealedStreamError';
  readonly problem: SealedStreamProblem;

  constructor(problem: SealedStreamProblem, options?: ErrorOptions) {
    super(sentences[problem], options);
    this.problem = problem;
  }
}
