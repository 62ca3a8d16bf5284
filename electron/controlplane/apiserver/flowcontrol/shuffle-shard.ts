// A flow's hand of queues: a few out of many, by its name alone. A flow that floods its hand leaves
// most other flows at least one queue of theirs. Pure.
// Source: kubernetes apiserver pkg/util/shufflesharding/dealer.go.

/** `handSize` different queues of `count`. */
export function dealHand(flow: string, count: number, handSize: number): number[] {
  let entropy = hash52(flow);
  const hand: number[] = [];
  for (let size = count; hand.length < Math.min(handSize, count); size--) {
    let card = entropy % size;
    entropy = Math.floor(entropy / size);
    // The card's place among those that are left.
    for (const dealt of hand.toSorted((a, b) => a - b)) if (dealt <= card) card++;
    hand.push(card);
  }
  return hand;
}

/** FNV-1a twice, with two beginnings: 52 bits, enough for hands of 6 out of 128 (42 bits). */
function hash52(text: string): number {
  let high = 0x811c9dc5;
  let low = 0x9747b28c;
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    high = Math.imul(high ^ code, 0x01000193);
    low = Math.imul(low ^ code, 0x01000193);
  }
  return (high >>> 6) * 2 ** 26 + (low >>> 6);
}
