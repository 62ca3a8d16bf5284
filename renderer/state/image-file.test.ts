import { describe, expect, it } from 'vitest';
import { loadedImages, loadedWords, sendingWords } from './image-file.ts';

describe('a file of images', () => {
  it('is told by what has gone, then by what the machine does with it', () => {
    const file = { name: 'web.tar', sizeBytes: 2 ** 30, sentBytes: 2 ** 28 };
    expect(sendingWords(file)).toBe('Sending web.tar: 256 MB of 1 GB');
    expect(sendingWords({ ...file, sentBytes: 2 ** 30 })).toBe('Unpacking web.tar');
  });

  it('is, once loaded, the images in it', () => {
    const images = [{ name: 'web:1' }, { name: 'pi:1', problem: 'no amd64 build' }];
    const lines = [
      { status: 'loading', doneBytes: 1, totalBytes: 2 },
      { status: 'loaded', images },
    ];
    const answer = lines.map((line) => `${JSON.stringify(line)}\n`).join('');
    expect(loadedImages(answer)).toEqual(images);
    expect(loadedWords(images)).toBe(
      "web:1 is here now. pi:1 is here now, but can't run: no amd64 build.",
    );
  });

  it.each([
    ['{"kind":"Status","message":"this is no image archive"}', 'this is no image archive'],
    ['{"status":"loading"}\n{"status":"failed","message":"invalid layer"}\n', 'invalid layer'],
    ['{"status":"loading"}\n', 'done: the images may or may not have been loaded.'],
    ['{"status":"load', 'The machine went away'],
    ['', 'The machine went away'],
  ])('that answers %s was not seen to be loaded', (answer, why) => {
    expect(() => loadedImages(answer)).toThrow(why);
  });
});
