// Scalars of the Kubernetes API that have a text form of their own.

/** A resource quantity such as `100m`, `1Gi`, `2`: see machinery/quantity.ts. */
export type Quantity = string | number;

/** A number, or a string such as a port name or `25%`. */
export type IntOrString = number | string;
