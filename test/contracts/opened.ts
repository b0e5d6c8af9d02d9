/** What a contract suite is given of an adapter. Other tests may use the same store at the same time. */
export type Opened<Ports> = Ports & {
  /** Lets go of everything that was opened, by `reopen` too. */
  close(): Promise<void>;
  /** Lets go of the data and takes up the same data again, as a restarted process would. */
  reopen?(): Promise<Ports>;
};
