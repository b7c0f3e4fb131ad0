package catalog

// SchemaVersion is the version of [Schema]. A catalog of another version is
// made anew.
const SchemaVersion = 1

// Schema is the SQL that makes an empty catalog.
const Schema = `
CREATE TABLE meta (
	schema_version INTEGER NOT NULL
);
CREATE TABLE marks (            -- how far each record was read
	name   VARCHAR NOT NULL,
	pos    BIGINT NOT NULL,
	state  VARCHAR NOT NULL
);
CREATE TABLE heads (
	variable  VARCHAR NOT NULL,
	version   VARCHAR NOT NULL
);
CREATE TABLE versions (
	variable      VARCHAR NOT NULL,
	version       VARCHAR NOT NULL,
	kind          VARCHAR,          -- static, time or file
	dtype         VARCHAR,
	units         VARCHAR,
	dims          VARCHAR[],
	shape         BIGINT[],
	crs           VARCHAR,
	dx            DOUBLE,           -- of a cell, in units of the CRS
	dy            DOUBLE,
	west          DOUBLE,
	south         DOUBLE,
	east          DOUBLE,
	north         DOUBLE,
	start_time    TIMESTAMP,
	end_time      TIMESTAMP,
	step_s        BIGINT,
	native_res_m  DOUBLE,
	schema        INTEGER,
	complete      BOOLEAN,          -- it covers its whole domain
	bytes         BIGINT,           -- of its values, decoded
	created       TIMESTAMP
);
CREATE TABLE runs (
	run           VARCHAR NOT NULL,
	started       TIMESTAMP NOT NULL,
	finished      TIMESTAMP,
	status        VARCHAR NOT NULL,
	error         VARCHAR,
	targets       VARCHAR[],
	command       VARCHAR[],
	workspace     VARCHAR,
	config        VARCHAR,          -- digest of cube.yaml
	lock          VARCHAR,          -- digest of cube.lock
	git_commit    VARCHAR,
	git_dirty     BOOLEAN,
	git_describe  VARCHAR,
	host          VARCHAR,
	os            VARCHAR,
	kernel        VARCHAR,
	arch          VARCHAR,
	cpu_model     VARCHAR,
	cpu_class     VARCHAR,
	cores         INTEGER,
	memory        BIGINT,
	engine        VARCHAR,          -- version of cube
	go            VARCHAR,
	key_version   INTEGER,
	actions       BIGINT,
	ran           BIGINT,
	hits          BIGINT,
	failed        BIGINT
);
CREATE TABLE vertices (
	run             VARCHAR NOT NULL,
	instance        VARCHAR NOT NULL,
	grid            VARCHAR NOT NULL,
	derivation      VARCHAR,
	started         TIMESTAMP,
	status          VARCHAR,
	producer        VARCHAR,
	license         VARCHAR,
	citation        VARCHAR,
	image_ref       VARCHAR,
	image_config    VARCHAR,
	image_manifest  VARCHAR,
	platform        VARCHAR,
	params          VARCHAR,        -- JSON
	actions         BIGINT,
	ran             BIGINT,
	hits            BIGINT,
	failed          BIGINT,
	wall_s          DOUBLE
);
CREATE TABLE inputs (
	run       VARCHAR NOT NULL,
	instance  VARCHAR NOT NULL,
	grid      VARCHAR NOT NULL,
	role      VARCHAR,
	variable  VARCHAR NOT NULL,
	version   VARCHAR NOT NULL,
	held      BOOLEAN NOT NULL
);
CREATE TABLE outputs (
	run           VARCHAR NOT NULL,
	instance      VARCHAR NOT NULL,
	grid          VARCHAR NOT NULL,
	role          VARCHAR,
	variable      VARCHAR NOT NULL,
	version       VARCHAR NOT NULL,
	native_res_m  DOUBLE,
	partial       BOOLEAN NOT NULL
);
CREATE TABLE sources (
	run       VARCHAR NOT NULL,
	instance  VARCHAR NOT NULL,
	grid      VARCHAR NOT NULL,
	role      VARCHAR,
	name      VARCHAR NOT NULL,
	uri       VARCHAR,
	sha256    VARCHAR,
	bytes     BIGINT,
	license   VARCHAR,
	citation  VARCHAR
);
CREATE TABLE packages (
	image_config  VARCHAR NOT NULL,
	kind          VARCHAR NOT NULL,  -- deb, python or go
	name          VARCHAR NOT NULL,
	version       VARCHAR NOT NULL
);
CREATE TABLE actions (
	action      VARCHAR NOT NULL,
	run         VARCHAR NOT NULL,
	instance    VARCHAR NOT NULL,
	grid        VARCHAR NOT NULL,
	t0          BIGINT,              -- the tile: half-open ranges of absolute indices
	t1          BIGINT,
	y0          BIGINT,
	y1          BIGINT,
	x0          BIGINT,
	x1          BIGINT,
	started     TIMESTAMP,
	status      VARCHAR NOT NULL,
	attempts    INTEGER,
	exit        INTEGER,
	reason      VARCHAR,
	wall_s      DOUBLE,
	user_s      DOUBLE,
	system_s    DOUBLE,
	max_rss     BIGINT,
	sandbox     VARCHAR,
	host        VARCHAR,
	windows     MAP(VARCHAR, VARCHAR), -- role → digest of what was read
	outputs     MAP(VARCHAR, VARCHAR), -- role → digest of what was made
	unenforced  VARCHAR[],
	log_bytes   BIGINT
);
CREATE INDEX versions_by_variable ON versions (variable);
CREATE VIEW latest AS
	SELECT v.* FROM heads h JOIN versions v USING (variable, version);
CREATE VIEW timeline AS
	SELECT coalesce(v.started, r.started) AS started, o.variable, o.version, o.run, o.instance, o.grid,
		v.status, v.ran, v.hits, v.failed, v.wall_s
	FROM outputs o JOIN vertices v USING (run, instance, grid) JOIN runs r USING (run)
	ORDER BY 1 DESC, o.variable;
CREATE VIEW lineage AS
	SELECT DISTINCT o.variable, o.version, o.instance, 'variable' AS "from", i.role, i.variable AS name, i.version AS digest, NULL AS uri
	FROM outputs o JOIN inputs i USING (run, instance, grid)
	UNION ALL
	SELECT DISTINCT o.variable, o.version, o.instance, 'source', s.role, s.name, s.sha256, s.uri
	FROM outputs o JOIN sources s USING (run, instance, grid);
CREATE VIEW costs AS
	SELECT instance, count(*) AS actions, count(*) FILTER (status = 'failed') AS failed,
		sum(wall_s) AS wall_s, sum(user_s + system_s) AS cpu_s, median(wall_s) AS median_s, max(max_rss) AS max_rss
	FROM actions GROUP BY instance ORDER BY wall_s DESC;
CREATE VIEW failures AS
	SELECT started, run, instance, t0, y0, x0, action, attempts, exit, reason
	FROM actions WHERE status IN ('failed', 'lost') ORDER BY started DESC;
`
