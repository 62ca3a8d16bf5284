// A file of images on its way to a machine, in words for a person. Pure. The machine's answer is told
// line by line by agent/kubelet/server/image-load.ts.
import { formatBytes } from './format.ts';

export interface ImageFile {
  readonly name: string;
  readonly sizeBytes: number;
  readonly sentBytes: number;
}

export interface LoadedImage {
  readonly name: string;
  readonly problem?: string;
}

interface Line {
  readonly status?: string;
  readonly images?: readonly LoadedImage[];
  readonly message?: string;
}

/** Until all is there the machine says nothing; unpacking takes about as long on a slow card. */
export function sendingWords({ name, sizeBytes, sentBytes }: ImageFile): string {
  if (sentBytes >= sizeBytes) return `Unpacking ${name}`;
  return `Sending ${name}: ${formatBytes(sentBytes)} of ${formatBytes(sizeBytes)}`;
}

const unknownWords = 'the images may or may not have been loaded.';
export const brokenWords = `The connection broke: ${unknownWords}`;

/** The images of a machine's answer. Throws a sentence when there are none. */
export function loadedImages(answer: string): readonly LoadedImage[] {
  const line = lastLine(answer);
  if (line?.status === 'loaded' && line.images !== undefined) return line.images;
  throw new Error(line?.message ?? `The machine went away before it was done: ${unknownWords}`);
}

/** What came whole; a line that broke off says nothing. */
function lastLine(answer: string): Line | undefined {
  const text = answer.trim().split('\n').at(-1) ?? '';
  try {
    return JSON.parse(text) as Line;
  } catch {
    return undefined;
  }
}

export function loadedWords(images: readonly LoadedImage[]): string {
  return images
    .map(({ name, problem }) =>
      problem === undefined
        ? `${name} is here now.`
        : `${name} is here now, but can't run: ${problem}.`,
    )
    .join(' ');
}
