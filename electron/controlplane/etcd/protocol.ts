// The messages of etcd's v3 API: field names, numbers and kinds. Only what is served or asked for.
// Source: etcd api/etcdserverpb/rpc.proto, api/mvccpb/kv.proto, server/lease/leasepb/lease.proto.
import { MessageType, many, one } from './wire.ts';

export interface KeyValue {
  readonly key: string;
  readonly create_revision: number;
  readonly mod_revision: number;
  readonly version: number;
  readonly value: Uint8Array;
  readonly lease: number;
}

export const keyValue = new MessageType<KeyValue>({
  key: one(1, 'key'),
  create_revision: one(2, 'int'),
  mod_revision: one(3, 'int'),
  version: one(4, 'int'),
  value: one(5, 'bytes'),
  lease: one(6, 'id'),
});

export const eventTypes = { put: 0, delete: 1 } as const;

export interface Event {
  readonly type: number;
  readonly kv: KeyValue | undefined;
  readonly prev_kv: KeyValue | undefined;
}

export const event = new MessageType<Event>({
  type: one(1, 'int'),
  kv: one(2, keyValue),
  prev_kv: one(3, keyValue),
});

export interface ResponseHeader {
  readonly cluster_id: number;
  readonly member_id: number;
  readonly revision: number;
  readonly raft_term: number;
}

export const header = one(
  1,
  new MessageType<ResponseHeader>({
    cluster_id: one(1, 'id'),
    member_id: one(2, 'id'),
    revision: one(3, 'int'),
    raft_term: one(4, 'int'),
  }),
);

export interface Headed {
  /** Missing only inside a transaction's answer. */
  readonly header: ResponseHeader | undefined;
}

export const emptyMessage = new MessageType<object>({});
export const headerOnly = new MessageType<Headed>({ header });

export interface RangeRequest {
  readonly key: string;
  readonly range_end: string;
  readonly limit: number;
  readonly revision: number;
  readonly sort_order: number;
  readonly sort_target: number;
  readonly serializable: boolean;
  readonly keys_only: boolean;
  readonly count_only: boolean;
  readonly min_mod_revision: number;
  readonly max_mod_revision: number;
  readonly min_create_revision: number;
  readonly max_create_revision: number;
}

export const rangeRequest = new MessageType<RangeRequest>({
  key: one(1, 'key'),
  range_end: one(2, 'key'),
  limit: one(3, 'int'),
  revision: one(4, 'int'),
  sort_order: one(5, 'int'),
  sort_target: one(6, 'int'),
  serializable: one(7, 'bool'),
  keys_only: one(8, 'bool'),
  count_only: one(9, 'bool'),
  min_mod_revision: one(10, 'int'),
  max_mod_revision: one(11, 'int'),
  min_create_revision: one(12, 'int'),
  max_create_revision: one(13, 'int'),
});

export interface RangeResponse extends Headed {
  readonly kvs: readonly KeyValue[];
  readonly more: boolean;
  readonly count: number;
}

export const rangeResponse = new MessageType<RangeResponse>({
  header,
  kvs: many(2, keyValue),
  more: one(3, 'bool'),
  count: one(4, 'int'),
});

export interface PutRequest {
  readonly key: string;
  readonly value: Uint8Array;
  readonly lease: number;
  readonly prev_kv: boolean;
  readonly ignore_value: boolean;
  readonly ignore_lease: boolean;
}

export const putRequest = new MessageType<PutRequest>({
  key: one(1, 'key'),
  value: one(2, 'bytes'),
  lease: one(3, 'int'),
  prev_kv: one(4, 'bool'),
  ignore_value: one(5, 'bool'),
  ignore_lease: one(6, 'bool'),
});

export interface PutResponse extends Headed {
  readonly prev_kv: KeyValue | undefined;
}

export const putResponse = new MessageType<PutResponse>({ header, prev_kv: one(2, keyValue) });

export interface DeleteRangeRequest {
  readonly key: string;
  readonly range_end: string;
  readonly prev_kv: boolean;
}

export const deleteRangeRequest = new MessageType<DeleteRangeRequest>({
  key: one(1, 'key'),
  range_end: one(2, 'key'),
  prev_kv: one(3, 'bool'),
});

export interface DeleteRangeResponse extends Headed {
  readonly deleted: number;
  readonly prev_kvs: readonly KeyValue[];
}

export const deleteRangeResponse = new MessageType<DeleteRangeResponse>({
  header,
  deleted: one(2, 'int'),
  prev_kvs: many(3, keyValue),
});

/** Exactly one of them. */
export interface RequestOp {
  readonly request_range?: RangeRequest | undefined;
  readonly request_put?: PutRequest | undefined;
  readonly request_delete_range?: DeleteRangeRequest | undefined;
  readonly request_txn?: TxnRequest | undefined;
}

const requestOp: MessageType<RequestOp> = new MessageType<RequestOp>({
  request_range: one(1, rangeRequest),
  request_put: one(2, putRequest),
  request_delete_range: one(3, deleteRangeRequest),
  request_txn: one(4, () => txnRequest),
});

/** Exactly one of them. */
export interface ResponseOp {
  readonly response_range?: RangeResponse | undefined;
  readonly response_put?: PutResponse | undefined;
  readonly response_delete_range?: DeleteRangeResponse | undefined;
  readonly response_txn?: TxnResponse | undefined;
}

const responseOp: MessageType<ResponseOp> = new MessageType<ResponseOp>({
  response_range: one(1, rangeResponse),
  response_put: one(2, putResponse),
  response_delete_range: one(3, deleteRangeResponse),
  response_txn: one(4, () => txnResponse),
});

/** `result`: EQUAL, GREATER, LESS, NOT_EQUAL. `target`: VERSION, CREATE, MOD, VALUE, LEASE. */
export interface Compare {
  readonly result: number;
  readonly target: number;
  readonly key: string;
  readonly version: number;
  readonly create_revision: number;
  readonly mod_revision: number;
  readonly value: Uint8Array;
  readonly lease: number;
  readonly range_end: string;
}

export const compareMessage = new MessageType<Compare>({
  result: one(1, 'int'),
  target: one(2, 'int'),
  key: one(3, 'key'),
  version: one(4, 'int'),
  create_revision: one(5, 'int'),
  mod_revision: one(6, 'int'),
  value: one(7, 'bytes'),
  lease: one(8, 'int'),
  range_end: one(64, 'key'),
});

export interface TxnRequest {
  readonly compare: readonly Compare[];
  readonly success: readonly RequestOp[];
  readonly failure: readonly RequestOp[];
}

export const txnRequest = new MessageType<TxnRequest>({
  compare: many(1, compareMessage),
  success: many(2, requestOp),
  failure: many(3, requestOp),
});

export interface TxnResponse extends Headed {
  readonly succeeded: boolean;
  readonly responses: readonly ResponseOp[];
}

export const txnResponse = new MessageType<TxnResponse>({
  header,
  succeeded: one(2, 'bool'),
  responses: many(3, responseOp),
});

export interface CompactionRequest {
  readonly revision: number;
  readonly physical: boolean;
}

export const compactionRequest = new MessageType<CompactionRequest>({
  revision: one(1, 'int'),
  physical: one(2, 'bool'),
});

export interface WatchCreateRequest {
  readonly key: string;
  readonly range_end: string;
  readonly start_revision: number;
  readonly progress_notify: boolean;
  /** Events left out: 0 puts, 1 deletes. */
  readonly filters: readonly number[];
  readonly prev_kv: boolean;
  readonly watch_id: number;
  readonly fragment: boolean;
}

export const watchCreateRequest = new MessageType<WatchCreateRequest>({
  key: one(1, 'key'),
  range_end: one(2, 'key'),
  start_revision: one(3, 'int'),
  progress_notify: one(4, 'bool'),
  filters: many(5, 'int'),
  prev_kv: one(6, 'bool'),
  watch_id: one(7, 'int'),
  fragment: one(8, 'bool'),
});

export interface WatchCancelRequest {
  readonly watch_id: number;
}

/** Exactly one of them. */
export interface WatchRequest {
  readonly create_request: WatchCreateRequest | undefined;
  readonly cancel_request: WatchCancelRequest | undefined;
  readonly progress_request: object | undefined;
}

export const watchRequest = new MessageType<WatchRequest>({
  create_request: one(1, watchCreateRequest),
  cancel_request: one(2, new MessageType<WatchCancelRequest>({ watch_id: one(1, 'int') })),
  progress_request: one(3, emptyMessage),
});

export interface WatchResponse extends Headed {
  readonly watch_id: number;
  readonly created: boolean;
  readonly canceled: boolean;
  readonly compact_revision: number;
  readonly cancel_reason: string;
  readonly fragment: boolean;
  readonly events: readonly Event[];
}

export const watchResponse = new MessageType<WatchResponse>({
  header,
  watch_id: one(2, 'int'),
  created: one(3, 'bool'),
  canceled: one(4, 'bool'),
  compact_revision: one(5, 'int'),
  cancel_reason: one(6, 'string'),
  fragment: one(7, 'bool'),
  events: many(11, event),
});
