// Every deliberate mistake. A check that none of them can make red checks nothing.
import type { Mutation } from './mutation.ts';
import { raftMutations } from './raft.ts';
import { replicaMutations } from './replica.ts';
import { storeMutations } from './store.ts';

export const mutations: readonly Mutation[] = [
  ...raftMutations,
  ...replicaMutations,
  ...storeMutations,
];
