// What an authorizer is asked and what it answers.
import type { RequestInfo, UserInfo } from '../http.ts';

export interface AuthorizationAttributes extends Omit<RequestInfo, 'rest' | 'version'> {
  readonly user: UserInfo;
  /** As in the query; null when there is none. */
  readonly fieldSelector: string | null;
  readonly labelSelector?: string | null;
}

export interface Decision {
  readonly allowed: boolean;
  /** Why, for the message or a review; may be empty. */
  readonly reason: string;
}

export type Authorizer = (attributes: AuthorizationAttributes) => Decision;
