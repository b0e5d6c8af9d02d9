/** How often a property is run against a whole server, or one is killed: a fifth of `all` unless `CI` is set. */
export const runs = (all: number): number => (process.env.CI ? all : Math.ceil(all / 5));
