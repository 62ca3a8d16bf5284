import { describe, expect, it } from 'vitest';
import { type DiffLine, diffLines } from './line-diff.ts';

const marks: Readonly<Record<DiffLine['kind'], string>> = {
  same: ' ',
  added: '+',
  removed: '-',
  skipped: '~',
};
function shown(before: string, after: string): string[] {
  return diffLines(before, after).map(({ kind, text }) => `${marks[kind]}${text}`);
}
const ten = Array.from({ length: 10 }, (_, index) => `line ${index}`).join('\n');

const cases = [
  { name: 'nothing for equal texts', before: 'a\nb\n', after: 'a\nb\n', want: [] },
  {
    name: 'a changed line as gone and come',
    before: 'a\nb\nc',
    after: 'a\nx\nc',
    want: [' a', '-b', '+x', ' c'],
  },
  { name: 'a line added at the end', before: 'a', after: 'a\nb', want: [' a', '+b'] },
  { name: 'a line taken from the front', before: 'a\nb', after: 'b', want: ['-a', ' b'] },
  {
    name: 'lines moved round one that stays',
    before: 'a\nb\nc',
    after: 'b\na\nd',
    want: ['-a', ' b', '-c', '+a', '+d'],
  },
  { name: 'everything of a new text', before: '', after: 'a\nb', want: ['+a', '+b'] },
  {
    name: 'only the surroundings of a change',
    before: ten,
    after: ten.replace('line 5', 'five'),
    want: [
      '~3 lines the same',
      ' line 3',
      ' line 4',
      '-line 5',
      '+five',
      ' line 6',
      ' line 7',
      '~2 lines the same',
    ],
  },
];

describe('diffLines', () => {
  it.each(cases)('$name', ({ before, after, want }) => {
    expect(shown(before, after)).toEqual(want);
  });

  it('does not compare every line of two huge texts with each other', () => {
    const huge = (word: string) =>
      Array.from({ length: 3000 }, (_, i) => `${word} ${i}`).join('\n');
    expect(diffLines(huge('a'), huge('b'))).toHaveLength(6000);
  });
});
